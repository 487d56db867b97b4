"""Tasks on many unlike machines, each in a WebAssembly sandbox.

A task is a message to a module that was compiled for `wasm32-wasip1`, in whatever language; its outcome is what the module
sends back. Values go as CBOR: see :func:`dumps` for which there are.

    import wasm_grid as grid

    with grid.connect() as client:
        for outcome in client.map("primes.wasm", [(0, 1000), (1000, 2000)]):
            print(outcome.task, outcome.value)

A function of yours is a module, too: it runs on hosts where there is no Python.

    def square(number):
        return number * number

    with grid.connect() as client:
        print(sum(client.map(square, range(100)).values()))

Without an address, and where no manager runs, `connect` starts a grid in this process, on all cores. On more machines:
`grid up` on one of them, `grid-host --manager TICKET` on the others, and `connect(TICKET)` here.
"""

from ._client import Client, connect
from ._executor import Executor
from ._functions import FunctionError, worker
from ._jobs import Job, Outcomes, StoppedError
from ._wasm_grid import (
    ConnectError,
    DeniedError,
    GridError,
    ModuleError,
    Outcome,
    TaskError,
    ValueFormError,
    WorkerGoneError,
    __version__,
    dumps,
    loads,
)
from ._workers import Event, Events, Failed, Joined, Left, Message, Worker, WorkerHandle, fail

__all__ = [
    "Client",
    "ConnectError",
    "DeniedError",
    "Event",
    "Events",
    "Executor",
    "Failed",
    "FunctionError",
    "GridError",
    "Job",
    "Joined",
    "Left",
    "Message",
    "ModuleError",
    "Outcome",
    "Outcomes",
    "StoppedError",
    "TaskError",
    "ValueFormError",
    "Worker",
    "WorkerGoneError",
    "WorkerHandle",
    "__version__",
    "connect",
    "dumps",
    "fail",
    "loads",
    "worker",
]

for _error in (FunctionError, StoppedError):
    _error.__module__ = __name__
