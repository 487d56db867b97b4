"""Write a grid worker in Python.

A worker is a class, and one line that exports it:

    from grid_worker import Worker, export, fail

    class Adder(Worker):
        def __init__(self):
            self.sum = 0

        def handle_msg(self, msg):
            if type(msg) is not int:
                return fail("expected a number")
            self.sum += msg
            self.send(self.sum)

    export(Adder)

Messages and spawn arguments are CBOR, in Python's own values; a class with `raw = True` has them as bytes.
"""

from . import cbor, log
from .calls import fail, send
from .exports import export
from .worker import DistributedWorker, Worker

__all__ = ["DistributedWorker", "Worker", "cbor", "export", "fail", "log", "send"]
