"""What a worker is."""

from . import calls


class Worker:
    """A worker: made once from its spawn arguments, then given messages for as long as it lives."""

    raw = False
    """True if messages and spawn arguments are bytes; else they are CBOR."""

    def __init__(self, *args, **kwargs):
        """Takes the spawn arguments. An exception, or `fail`, refuses them."""

    def handle_msg(self, msg):
        """Takes a message. What is sent from here and from `loop` is the answer."""

    def loop(self):
        """Does a slice of what is left to do. Called at the start, after each message, and as its answer says.

        True: call again. False: nothing is left, and the message at hand is done. None: call again, at once while
        the message at hand is unanswered, and else after the next message or in 100 ms.

        A class without a `loop` of its own is done when `handle_msg` returns.
        """
        return False

    def stop(self):
        """The last call, when the worker is stopped in good order."""

    def send(self, msg):
        """Sends a message to the client."""
        calls.send(msg)


class Pipe:
    """What is left of the ancestor's connection: it sends."""

    def send(self, msg):
        """Sends a message to the client."""
        calls.send(msg)


class DistributedWorker(Worker):
    """A worker with the constructor of the package distributed-worker, so that its workers run as they are."""

    def __init__(self, pipe, *args, **kwargs):
        """Takes a pipe that goes to the client, and the spawn arguments."""
        super().__init__(*args, **kwargs)
        self.pipe = pipe
