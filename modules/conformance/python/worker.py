"""Does what the first byte of a message says, to show that the SDK and the grid agree."""

import sys

from grid_worker import Worker, cbor, export, fail, log, send

MIB = 1 << 20


class Conformance(Worker):
    """A worker that does what it is asked, by the functions below."""

    raw = True

    def __init__(self, arguments=b""):
        self.arguments = arguments
        self.counted = 0
        self.turns = None
        self.turns_taken = 0
        self.kept = []
        if arguments == b"refuse":
            fail("refused")

    def handle_msg(self, msg):
        if not msg:
            return send(b"")
        request = REQUESTS.get(msg[:1])
        if request is None:
            return fail("unknown request")
        request(self, msg[1:])

    def loop(self):
        if self.turns is None:
            return False
        if self.turns_taken < self.turns:
            self.turns_taken += 1
            return True
        send(f"turns:{self.turns_taken}")
        self.turns = None
        return False

    def stop(self):
        log.info("stopped")


def echo(_worker, body):
    """`=`: sends the body back."""
    send(body)


def count(worker, _body):
    """`+`: counts the messages of this kind so far."""
    worker.counted += 1
    send(str(worker.counted))


def many(_worker, body):
    """`*`: sends so many messages."""
    for number in range(int(body)):
        send(str(number))


def arguments(worker, _body):
    """`a`: sends the spawn arguments."""
    send(worker.arguments)


def turns(worker, body):
    """`l`: takes so many turns."""
    worker.turns = int(body)
    worker.turns_taken = 0


def failure(_worker, body):
    """`f`: fails with the body as the reason."""
    fail(body.decode(errors="replace"))


def levels(_worker, body):
    """`g`: writes the body to the log at each level."""
    line = body.decode(errors="replace")
    for write in (log.error, log.warn, log.info, log.debug, log.trace):
        write(line)
    send("logged")


def output(_worker, body):
    """`o`: writes the body to standard output and standard error."""
    line = body.decode(errors="replace")
    print(line)
    print(line, file=sys.stderr)
    send("written")


def trap(_worker, body):
    """`t`: raises an exception that nobody catches."""
    deliberate_trap(body.decode(errors="replace"))


def deliberate_trap(message):
    """Ends the worker."""
    raise RuntimeError(message)


def memory(worker, body):
    """`m`: takes so many MiB and keeps them."""
    try:
        for _ in range(int(body)):
            worker.kept.append(b"\1" * MIB)
    except MemoryError:
        # Room for the failure itself.
        worker.kept.clear()
        return fail("there is no more memory")
    send("allocated")


def recode(_worker, body):
    """`c`: decodes CBOR and encodes it again."""
    try:
        value = cbor.decode(body)
    except cbor.CborError as error:
        return fail(f"broken CBOR: {error}")
    send(cbor.encode(value))


def name(_worker, body):
    """`n`: sends the name of the type of a CBOR value."""
    try:
        value = cbor.decode(body)
    except cbor.CborError as error:
        return fail(f"broken CBOR: {error}")
    send(type(value).__name__)


REQUESTS = {
    b"=": echo,
    b"+": count,
    b"*": many,
    b"a": arguments,
    b"l": turns,
    b"f": failure,
    b"g": levels,
    b"o": output,
    b"t": trap,
    b"m": memory,
    b"c": recode,
    b"n": name,
}

export(Conformance)
