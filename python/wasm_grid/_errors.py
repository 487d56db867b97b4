"""What a function raised on a host, as an exception that the program here can catch by its class."""

from __future__ import annotations

import re

from ._wasm_grid import TaskError

#: Exceptions that are made of one text, by name; others are the class below which they stand in Python.
_CLASSES: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, FileExistsError, FileNotFoundError,
        FloatingPointError, ImportError, IndexError, KeyError, LookupError, MemoryError, ModuleNotFoundError, NameError,
        NotImplementedError, OSError, OverflowError, PermissionError, RecursionError, RuntimeError, TypeError,
        UnboundLocalError, ValueError, ZeroDivisionError,
    )
}  # fmt: skip
_CLASSES.update(dict.fromkeys(("UnicodeError", "UnicodeDecodeError", "UnicodeEncodeError"), ValueError))
_CLASSES["JSONDecodeError"] = ValueError

_FRAME = re.compile(r'^  File ".*", line \d+, in .*$', re.MULTILINE)
_NAME = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?::|$)", re.MULTILINE)

_made: dict[type[Exception], type[TaskError]] = {}


def as_raised(error: TaskError) -> TaskError:
    """The error of a function's task, which is also of the built-in class that the function raised, if it was one.

    `except ZeroDivisionError` and `except TaskError` both catch what a function raised by dividing by zero. The class is
    taken by its name from a table; nothing that a host sends is called.
    """
    kind = _kind_of(error.attempts[-1]["message"] if error.attempts else "")
    if kind is None:
        return error
    if kind not in _made:
        body = {"__module__": "wasm_grid", "__str__": Exception.__str__, "__doc__": TaskError.__doc__}
        _made[kind] = type(kind.__name__, (TaskError, kind), body)
    raised = _made[kind](*error.args)
    raised.__dict__.update(error.__dict__)
    return raised


def _kind_of(message: str) -> type[Exception] | None:
    """The class in the traceback that a function's worker sends: it begins the first line behind the last frame's."""
    frames = list(_FRAME.finditer(message))
    if not frames:
        return None
    name = _NAME.search(message, frames[-1].end())
    return None if name is None else _CLASSES.get(name.group(1))
