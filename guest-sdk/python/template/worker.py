"""{{name}}: adds up the numbers that it is sent, and answers the sum so far."""

from grid_worker import Worker, export, fail


class Adder(Worker):
    """A worker with a state: the sum."""

    def __init__(self, start=0):
        self.sum = start

    def handle_msg(self, msg):
        if type(msg) not in (int, float):
            return fail("expected a number")
        self.sum += msg
        self.send(self.sum)


export(Adder)
