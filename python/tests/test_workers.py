"""Workers that keep a state and are sent messages."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import wasm_grid
from example_functions import Adder, Counter, power
from grid_processes import ECHO, Grid, functions_at_hand
from wasm_grid import Failed, Joined, Left, Message, WorkerGoneError, WorkerHandle

#: Nothing that comes takes so long, not even where hosts are compiled without optimisation and compile Python.
MINUTES = 300


def messages(client: wasm_grid.Client, count: int) -> list[tuple[WorkerHandle, Any]]:
    """Waits for so many messages, and gives them with their workers."""
    got: list[tuple[WorkerHandle, Any]] = []
    for event in client.events(timeout=MINUTES):
        if isinstance(event, Message):
            got.append((event.worker, event.value))
            if len(got) == count:
                break
    return got


class Workers(unittest.TestCase):
    grid: Grid

    @classmethod
    def setUpClass(cls) -> None:
        cls.grid = Grid(hosts=2, home=functions_at_hand() / "python", slots=8)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.grid.__exit__(None, None, None)

    def setUp(self) -> None:
        self.client = self.grid.connect()
        self.addCleanup(self.client.close)

    def test_objects_of_a_class_keep_their_state_on_hosts_without_python(self) -> None:
        adders = self.client.spawn(Adder, count=2, args=[10], kwargs={"step": 2})
        for adder in adders:
            for number in (1, 2):
                adder.send(number)
        got = messages(self.client, 4)
        for adder in adders:
            answers = [value for worker, value in got if worker == adder]
            self.assertEqual(answers, [{"sum": 12, "seen": {1}}, {"sum": 16, "seen": {2}}])
        self.assertEqual({worker["worker"] for worker in self.client.workers()}, {adder.id for adder in adders})
        self.client.stop_workers(adders)
        left = (event.end for event in self.client.events(timeout=MINUTES) if isinstance(event, Left))
        self.assertEqual([next(left), next(left)], ["stopped", "stopped"])
        with self.assertRaises(WorkerGoneError):
            adders[0].send(1)

    def test_a_message_that_fails_says_why_and_an_exception_ends_the_worker_with_its_lines(self) -> None:
        [adder] = self.client.spawn(Adder)
        number = adder.send("two")
        adder.send("break")
        adder.send(3)
        events = self.client.events(timeout=MINUTES)
        *early, left = next(events), next(events), next(events)
        [failed] = [event for event in early if isinstance(event, Failed)]
        self.assertEqual(sum(isinstance(event, Joined) for event in early), 1)
        assert isinstance(left, Left)
        self.assertEqual((failed.message, failed.reason), (number, "expected a number, and not 'two'"))
        self.assertEqual([wasm_grid.loads(message) for message in left.unanswered], ["break", 3])
        self.assertIn("ValueError: it was told to break", left.why)

    def test_a_worker_works_in_slices_and_another_one_takes_messages_meanwhile(self) -> None:
        [counter] = self.client.spawn(Counter)
        [adder] = self.client.spawn(Adder)
        counter.send(1_000)
        adder.send(5)
        self.assertEqual(dict(messages(self.client, 2)), {counter: 1_000, adder: {"sum": 5, "seen": {5}}})

    def test_a_worker_whose_host_dies_is_replaced_and_its_client_has_what_was_not_answered(self) -> None:
        with Grid(hosts=2, home=None) as grid, grid.connect() as client:
            echo = client.module(ECHO)
            [worker] = client.spawn(echo, restart="always")
            events = client.events(timeout=MINUTES)
            joined = next(events)
            assert isinstance(joined, Joined)
            names = {host["key"]: host["name"] for host in client.hosts()}
            grid.kill_host(int(names[joined.host][-1]))
            worker.send("lost")
            left, joined = next(events), next(events)
            assert isinstance(left, Left) and isinstance(joined, Joined)
            self.assertEqual((left.end, left.unanswered), ("host-lost", [wasm_grid.dumps("lost")]))
            self.assertEqual(joined.replaces, worker)
            joined.worker.send(left.unanswered[0], raw=True)
            self.assertEqual(messages(client, 1), [(joined.worker, "lost")])

    def test_events_are_awaited_while_something_else_runs(self) -> None:
        async def talk() -> list[Any]:
            [function] = self.client.spawn(power)
            function.send(7)
            async for event in self.client.events(timeout=MINUTES):
                if isinstance(event, Message):
                    return [event.value]
            return []

        self.assertEqual(asyncio.run(talk()), [49])

    def test_a_worker_says_where_it_belongs_when_it_is_called_here(self) -> None:
        with self.assertRaisesRegex(RuntimeError, r"client.spawn"):
            Adder().handle_msg(1)
        with self.assertRaisesRegex(ValueError, "by position or by name"):
            self.client.spawn(ECHO, args=[1], kwargs={"one": 1})
        with self.assertRaisesRegex(ValueError, "restart is"):
            self.client.spawn(ECHO, restart="sometimes")


if __name__ == "__main__":
    unittest.main()
