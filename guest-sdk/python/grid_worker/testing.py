"""A stand-in for the host, so that a worker can be tested where it is written.

In plain Python, grid calls end up here: a test makes a `Host`, gives it messages, and looks at what the worker did.

    from grid_worker.testing import Host

    assert Host(Adder).deliver(5).sent == [5]
"""

from collections import namedtuple
from enum import Enum

Level = Enum("Level", ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"], start=0)
Turn = Enum("Turn", ["IDLE", "AGAIN", "LATER"], start=0)

Done = namedtuple("Done", ["sent", "failed", "logged"])
Done.__doc__ = """What a worker did: what it sent, in order; why it failed the message, or None; pairs of a level's name
in lower case and a line that it logged."""

_sent, _failed, _logged = [], [], []


def send(message):
    """Keeps a message."""
    _sent.append(message)


def fail(reason):
    """Keeps the reason of a failure."""
    _failed.append(reason)


def log(level, line):
    """Keeps a line of the log."""
    _logged.append((level.name.lower(), line))


class Refused(Exception):
    """A worker refused its spawn arguments."""


class Host:
    """Runs one worker. Values go through CBOR and back, as they would on the grid."""

    def __init__(self, worker_class, arguments=b""):
        """Makes a worker from its spawn arguments, which are bytes. Raises Refused if it does not take them."""
        from .exports import Exports

        class Trial(Exports):
            """The exports of this class, whatever else was exported."""

        Trial.worker_class = worker_class
        self._exports = Trial()
        self._exports.start(arguments)
        failed = self._done().failed
        if failed is not None:
            raise Refused(failed)

    def deliver(self, message, turns_max=1000):
        """Gives the worker a message and its turns, until it is idle or has nothing to do for now; what it did."""
        from . import cbor
        from .calls import State

        raw = State.raw = self._exports.worker_class.raw
        self._exports.handle_msg(message if raw else cbor.encode(message))
        for _ in range(turns_max):
            if self._exports.loop() is not Turn.AGAIN:
                break
        done = self._done()
        return done if raw else done._replace(sent=[cbor.decode(answer) for answer in done.sent])

    def stop(self):
        """Stops the worker; what it did."""
        self._exports.stop()
        return self._done()

    @staticmethod
    def _done():
        done = Done(_sent[:], _failed[0] if _failed else None, _logged[:])
        for kept in (_sent, _failed, _logged):
            kept.clear()
        return done
