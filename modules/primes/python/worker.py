"""Counts primes the naive way: tries every smaller divisor until one divides.

A message is the CBOR pair [from, to], or a line of text with a number n, which means [n, n + 1000]; the answer is the
CBOR map {from, to, count, largest} for the primes p with from <= p < to.
"""

from grid_worker import Worker, cbor, export, fail

SLICE = 100
"""Numbers looked at in one turn."""

LINE = 1000
"""Numbers in the range that a line of text stands for."""

NUMBER_MAX = 2**32 - 1
"""The largest number that all of the prime workers take."""


class Primes(Worker):
    """A worker that counts primes, a slice of the range a turn."""

    # A message may be text, which is no CBOR.
    raw = True

    def __init__(self):
        self.left = range(0)
        self.found = None

    def handle_msg(self, msg):
        try:
            self.left = asked_range(msg)
        except ValueError as error:
            return fail(f"expected the CBOR pair [from, to] or a number as text: {error}")
        self.found = {"from": self.left.start, "to": self.left.stop, "count": 0, "largest": None}

    def loop(self):
        if self.found is None:
            return False
        for number in self.left[:SLICE]:
            if is_prime(number):
                self.found["count"] += 1
                self.found["largest"] = number
        self.left = self.left[SLICE:]
        if self.left:
            return True
        self.send(cbor.encode(self.found))
        self.found = None
        return False


def asked_range(message):
    """The range that a message asks for. No digit and no space begins a pair in CBOR, so the two forms never meet."""
    text = message.strip()
    # The largest number has ten digits.
    if text.isdigit() and len(text) <= 10:
        first = within(int(text))
        return range(first, min(first + LINE, NUMBER_MAX))
    pair = cbor.decode(message)
    if type(pair) is not list or len(pair) != 2:
        raise ValueError("it is something else")
    return range(*map(within, pair))


def within(number):
    """The number, if it is one that the prime workers take."""
    if type(number) is not int or not 0 <= number <= NUMBER_MAX:
        raise ValueError(f"{number!r} is no whole number from 0 to {NUMBER_MAX}")
    return number


def is_prime(number):
    """True if no smaller number but 1 divides it."""
    for divisor in range(2, number):
        if number % divisor == 0:
            return False
    return number >= 2


export(Primes)
