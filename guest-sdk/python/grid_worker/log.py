"""The worker's log, at five levels.

Python's `logging` ends here, too, if the worker has imported it by the time it is exported.
"""

import sys

from .host import Level, calls


def error(line):
    """Writes a line to the log: what went wrong."""
    write(Level.ERROR, line)


def warn(line):
    """Writes a line to the log: what may go wrong."""
    write(Level.WARN, line)


def info(line):
    """Writes a line to the log: what is going on."""
    write(Level.INFO, line)


def debug(line):
    """Writes a line to the log: what helps to find a mistake."""
    write(Level.DEBUG, line)


def trace(line):
    """Writes a line to the log: every step."""
    write(Level.TRACE, line)


def write(level, line):
    """Writes a line to the log at a level of the host's. The grid cuts lines of more than 8 KiB."""
    calls.log(level, str(line).encode(errors="replace").decode())


def capture_logging():
    """Sends what is logged through Python's `logging` to the worker's log, at all levels: the reader chooses."""
    logging = sys.modules.get("logging")
    if logging is None:
        return

    class Handler(logging.Handler):
        """Writes records to the worker's log."""

        def emit(self, record):
            try:
                write(_level(logging, record.levelno), self.format(record))
            except Exception:
                self.handleError(record)

    root = logging.getLogger()
    if not any(type(handler).__module__ == __name__ for handler in root.handlers):
        root.addHandler(Handler())
        root.setLevel(logging.NOTSET)


def _level(logging, number):
    if number >= logging.ERROR:
        return Level.ERROR
    if number >= logging.WARNING:
        return Level.WARN
    if number >= logging.INFO:
        return Level.INFO
    return Level.DEBUG if number >= logging.DEBUG else Level.TRACE
