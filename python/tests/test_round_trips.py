"""Values go to guests and come back as they were."""

from __future__ import annotations

import importlib
import os
import random
import unittest
from pathlib import Path
from typing import Any, Callable, Union

from example_functions import identity
from grid_processes import ECHO, OneHostTest
from random_values import first_difference, same, values_of

numpy: Any = importlib.import_module("numpy")

COUNT = 10_000

#: Values that go in one task.
BATCH = 100


class RoundTrips(OneHostTest):
    def check(self, guest: Union[Callable[[Any], Any], Path]) -> None:
        seed = int(os.environ.get("GRID_SEED") or random.randrange(1 << 32))
        values = list(values_of(seed, COUNT))
        batches = [values[at : at + BATCH] for at in range(0, COUNT, BATCH)]
        answers = self.client.map(guest, batches, in_order=True, retries=0).values()
        difference = first_difference(values, [value for batch in answers for value in batch])
        self.assertIsNone(difference, f"with GRID_SEED={seed}")

    def test_ten_thousand_values_come_back_from_a_guest_in_python_as_they_were(self) -> None:
        self.check(identity)

    def test_ten_thousand_values_come_back_from_a_guest_in_rust_as_they_were(self) -> None:
        self.check(ECHO)

    def test_arrays_of_numpy_come_back_from_guests_as_they_were(self) -> None:
        dice = random.Random(13)
        arrays: list[Any] = []
        for dtype in ("i1", "u1", "i2", ">u2", "f2", ">f2", "i4", "u4", "f4", "i8", "u8", "f8", ">f8"):
            for shape in [(0,), (7,), (), (2, 3), (100, 30), (2, 1, 3, 2)]:
                size = int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize
                arrays.append(numpy.frombuffer(dice.randbytes(size), dtype).reshape(shape))
        for guest in (identity, ECHO):
            (others,) = self.client.map(guest, [arrays], retries=0).values()
            for one, other in zip(arrays, others):
                self.assertIsInstance(other, numpy.ndarray)
                native = one.astype(one.dtype.newbyteorder("="))
                self.assertTrue(same(native, other), f"{one!r} is {other!r}")


if __name__ == "__main__":
    unittest.main()
