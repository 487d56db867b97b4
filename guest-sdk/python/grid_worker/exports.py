"""What the host calls, and how it reaches the author's class."""

from time import monotonic
from traceback import format_exception

from . import cbor, log
from .calls import State, fail, text
from .host import Turn
from .worker import DistributedWorker, Pipe, Worker

AT_ONCE_SECONDS_MAX = 1.0
"""So long a `loop` that answers None is called at once; then the host gets to look whether something came.

A worker that forgets to answer a message would else never get another one, and could not be stopped.
"""

TRACEBACK_BYTES_MAX = 7 << 10
"""The end of a traceback that is logged: the grid keeps the first 8 KiB of a line, and the end says what it was."""


def export(worker_class):
    """Makes a class the worker of this module. Called once, in the last line of `worker.py`."""
    if not (isinstance(worker_class, type) and issubclass(worker_class, Worker)):
        raise TypeError("export takes a class that is a Worker or a DistributedWorker")
    Exports.worker_class = worker_class
    log.capture_logging()


class Exports:
    """The functions of the world `worker`, for the class that was exported."""

    worker_class = None

    def __init__(self):
        self.worker = None
        self.has_loop = False
        self.at_once_until = None

    def start(self, arguments):
        """Makes the worker."""
        State.raw = self.worker_class.raw
        State.starting = True
        try:
            args, kwargs = self._arguments(arguments)
            self.worker = self.worker_class(*args, **kwargs)
        except cbor.CborError as error:
            fail(f"the spawn arguments are broken CBOR: {error}")
        except Exception as error:
            _report(error)
            fail(f"{type(error).__name__}: {error}")
        State.starting = False
        State.answered = True
        self.has_loop = getattr(type(self.worker), "loop", None) is not Worker.loop

    def handle_msg(self, message):
        """Gives the worker a message."""
        State.answered = False
        self.at_once_until = None
        try:
            if not State.raw:
                try:
                    message = cbor.decode(message)
                except cbor.CborError as error:
                    return fail(f"expected CBOR: {error}")
            self.worker.handle_msg(message)
        except Exception as error:
            _report(error)
            raise

    def loop(self):
        """Gives the worker a turn."""
        if not self.has_loop:
            return Turn.IDLE
        try:
            turn = self.worker.loop()
            if turn is True:
                return Turn.AGAIN
            if turn is False:
                return Turn.IDLE
            if turn is None:
                return self._turn_without_answer()
            raise TypeError(f"loop returned a {type(turn).__name__}; it returns True, False or None")
        except Exception as error:
            _report(error)
            raise

    def stop(self):
        """Tells the worker that it ends."""
        try:
            self.worker.stop()
        except Exception as error:
            _report(error)
            raise

    def _arguments(self, arguments):
        """The spawn arguments, by position and by name."""
        first = [Pipe()] if issubclass(self.worker_class, DistributedWorker) else []
        if not arguments:
            return first, {}
        if State.raw:
            return [*first, arguments], {}
        # No text begins with a byte that begins a list or a map, so the forms never meet.
        if not 0x80 <= arguments[0] < 0xC0:
            try:
                return [*first, arguments.decode()], {}
            except UnicodeDecodeError:
                raise cbor.CborError("neither a list nor a map, and no text") from None
        value = cbor.decode(arguments)
        if type(value) is list:
            return [*first, *value], {}
        if not all(type(name) is str for name in value):
            raise cbor.CborError("a name is no text")
        return first, value

    def _turn_without_answer(self):
        if State.answered:
            return Turn.LATER
        now = monotonic()
        if self.at_once_until is None:
            self.at_once_until = now + AT_ONCE_SECONDS_MAX
        elif now > self.at_once_until:
            self.at_once_until = None
            return Turn.LATER
        return Turn.AGAIN


def _report(error):
    """Logs an exception that nobody caught; the runtime writes it to standard error as it ends the worker."""
    # The first frame is ours.
    trace = error.__traceback__.tb_next or error.__traceback__
    lines = text("".join(format_exception(type(error), error, trace))).rstrip().encode()
    if len(lines) > TRACEBACK_BYTES_MAX:
        lines = b"... " + lines[-TRACEBACK_BYTES_MAX:]
    log.error(lines.decode(errors="ignore"))
