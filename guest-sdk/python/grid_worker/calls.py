"""Grid calls, in Python's own values."""

from . import cbor, log
from .host import calls


class State:
    """What the grid calls know of the worker and of the message at hand."""

    raw = False
    """Messages are bytes, rather than CBOR."""

    starting = False
    """The worker is being made."""

    answered = True
    """Nothing waits for an answer: something was sent since the last message came, or none came."""


def send(value):
    """Sends a value to the client, as CBOR, waiting while too much of what was sent before is unread.

    A worker that is `raw` sends bytes, or a str as UTF-8. A message of more than 64 MiB ends the worker.
    """
    calls.send(_bytes(value) if State.raw else cbor.encode(value))
    State.answered = True


def fail(reason):
    """Says that the message at hand could not be handled, and why; the worker goes on with the next one.

    While the worker is being made, refuses its spawn arguments: it ends. This is no exception: return after it.
    """
    reason = text(reason)
    if State.starting:
        log.error(reason)
    calls.fail(reason)
    State.answered = True


def text(value):
    """A value as text that can be sent: half of a surrogate pair becomes a question mark."""
    return str(value).encode(errors="replace").decode()


def _bytes(value):
    # The runtime takes bytes alone, and no other type that holds some.
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a raw worker sends bytes, not a {type(value).__name__}")
