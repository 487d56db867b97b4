"""Arrays of numbers are typed arrays on their way, and arrays again where they arrive."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import mmap
import random
import subprocess
import sys
import unittest
from array import array
from math import prod
from typing import Any, cast
from unittest import mock

from random_values import same
from wasm_grid import ValueFormError, dumps, loads

numpy: Any = importlib.import_module("numpy")

DTYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
SHAPES = [(5,), (0,), (2, 3), (), (3, 1, 2), (0, 3), (2, 0, 4)]

#: Copies a large array there and back where there is memory for one copy and a half.
ONE_COPY = """
import resource, numpy, wasm_grid
MIB = 1 << 20
def allow(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, resource.RLIM_INFINITY))
numbers = numpy.arange(8 * MIB, dtype="i8").reshape(2, -1)
allow(96 * MIB)
data = wasm_grid.dumps(numbers)
allow(96 * MIB)
again = wasm_grid.loads(data)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert numpy.array_equal(numbers, again) and again.shape == numbers.shape
"""


def without_numpy(data: bytes) -> Any:
    """What a program gets that has not imported numpy."""
    with mock.patch.dict(sys.modules, {"numpy": None}):
        return loads(data)


class Arrays(unittest.TestCase):
    def test_an_array_of_numpy_comes_back_with_its_shape_and_its_numbers(self) -> None:
        dice = random.Random(3)
        for order, dtype, shape in itertools.product("<>", DTYPES, SHAPES):
            size = prod(shape) * int(dtype[1:])
            one = numpy.frombuffer(dice.randbytes(size), order + dtype).reshape(shape)
            other = loads(dumps(one))
            self.assertIsInstance(other, numpy.ndarray)
            self.assertEqual((other.dtype, other.shape), (numpy.dtype(dtype), shape))
            self.assertTrue(same(other, one.astype(dtype)), one)

    def test_a_decoded_array_is_aligned_and_can_be_written_wherever_its_bytes_were(self) -> None:
        for before in range(9):
            data = dumps(["x" * before, numpy.arange(3.0)])
            array_of_numpy, array_of_python = loads(data)[1], without_numpy(data)[1]
            array_of_numpy[0] = array_of_python[0] = 4
            self.assertTrue(array_of_numpy.flags.aligned and array_of_numpy.flags.c_contiguous)
            self.assertEqual(list(array_of_numpy), list(array_of_python))

    def test_parts_of_arrays_go_as_if_they_were_copied(self) -> None:
        cube = numpy.arange(60_000.0).reshape(20, 30, 100)
        column_wise, diagonal = numpy.asfortranarray(cube), numpy.diag(cube[0])
        for part in (cube.T, cube[::2], cube[:, ::-1], cube[3:4, 5:6, ::7], column_wise, diagonal):
            self.assertEqual(dumps(part), dumps(part.copy(order="C")))
        self.assertEqual(loads(dumps(memoryview(array("i", range(6)))[::2])).tolist(), [0, 2, 4])

    def test_large_buffers_among_other_values_stay_in_order(self) -> None:
        large = numpy.arange(10_000)
        values = [large, 1, b"x" * 5_000, large.T, bytearray(b"y" * 5_000), "z", large.reshape(10, -1)]
        others = loads(dumps(values))
        for one, other in zip(values, others):
            self.assertTrue(same(bytes(one) if isinstance(one, bytearray) else one, other), one)
        self.assertEqual(len(others), len(values))

    def test_a_large_array_is_copied_once_there_and_once_back(self) -> None:
        subprocess.run([sys.executable, "-c", ONE_COPY], check=True, timeout=60)

    def test_examples_of_the_standard_mean_what_it_says(self) -> None:
        for text, numbers in [
            ("d82882820203d8414c000200040008000400100100", [[2, 4, 8], [4, 16, 256]]),
            ("d84043010203", [1, 2, 3]),
            ("d84443010203", [1, 2, 3]),
            ("d84843ff0203", [-1, 2, 3]),
            ("d8414400010002", [1, 2]),
            ("d8454401000200", [1, 2]),
            ("d84944fffe0002", [-2, 2]),
            ("d84b48fffffffffffffffe", [-2]),
            ("d84f48feffffffffffffff", [-2]),
            ("d850443e00c000", [1.5, -2.0]),
            ("d85444003e00c0", [1.5, -2.0]),
            ("d851443fc00000", [1.5]),
            ("d85248c000000000000000", [-2.0]),
            ("d8565f4400000000440000f03fff", [1.0]),
            ("d8409f", None),
        ]:
            if numbers is None:
                self.assertRaises(ValueFormError, loads, bytes.fromhex(text))
                continue
            for read in (loads, without_numpy):
                self.assertEqual(read(bytes.fromhex(text)).tolist(), numbers, text)

    def test_without_numpy_arrays_are_those_of_python(self) -> None:
        for letter in "bBhHiIlLqQfd":
            one = array(letter, [1, 2, 3])
            self.assertIsInstance(without_numpy(dumps(one)), array)
            self.assertEqual(without_numpy(dumps(one)), one)
        halves = without_numpy(dumps(numpy.array([1.5, -0.0, 65504, numpy.inf], "f2")))
        self.assertEqual(halves, array("f", [1.5, -0.0, 65504, float("inf")]))
        for dtype, shape in itertools.product(DTYPES, [(2, 3), (), (3, 1, 2)]):
            one = numpy.arange(prod(shape), dtype=dtype).reshape(shape)
            other = without_numpy(dumps(one))
            self.assertIsInstance(other, memoryview)
            self.assertEqual((other.tolist(), other.shape, other.readonly), (one.tolist(), shape, False))
        with self.assertRaisesRegex(ValueFormError, "import numpy"):
            without_numpy(dumps(numpy.zeros((0, 3))))

    def test_a_buffer_of_bytes_is_bytes_unless_its_type_is_an_array(self) -> None:
        for one in (b"abc", bytearray(b"abc"), memoryview(b"xaxbxc")[1::2], (ctypes.c_char * 3)(*b"abc")):
            self.assertEqual(loads(dumps(one)), b"abc")
        self.assertEqual(loads(dumps(mmap.mmap(-1, 3))), bytes(3))
        for one in (numpy.frombuffer(b"abc", "u1"), array("B", b"abc"), (ctypes.c_ubyte * 3)(*b"abc")[:]):
            self.assertEqual(list(loads(dumps(one))), [97, 98, 99])
        square = loads(dumps(memoryview(b"abcd").cast("B", [2, 2])))
        self.assertEqual(square.tolist(), [[97, 98], [99, 100]])

    def test_numbers_of_numpy_are_numbers_of_python(self) -> None:
        for one, other in [
            (numpy.int8(-3), -3),
            (numpy.uint64(2**64 - 1), 2**64 - 1),
            (numpy.float16(0.5), 0.5),
            (numpy.float32(1.5), 1.5),
            (numpy.float64(-0.0), -0.0),
            (numpy.bool_(True), True),
            (numpy.str_("x"), "x"),
            ({numpy.int64(1): numpy.int64(2)}, {1: 2}),
        ]:
            self.assertTrue(same(loads(dumps(one)), other), one)

    def test_arrays_without_a_form_are_refused_by_name_with_what_to_do(self) -> None:
        for value, words in [
            (numpy.array([True]), r"bool has no form .*\.astype\('uint8'\)"),
            (numpy.array([1j]), r"complex128 .*\.real"),
            (numpy.array([None]), r"object .*\.tolist"),
            (numpy.array(["x"]), r"U1 .*\.tolist"),
            (numpy.array(["2026-11-27"], "M8[D]"), r"datetime64\[D\] .*the unit"),
            (numpy.zeros(1, [("a", "i4")]), r"'a'.* fields"),
            (numpy.zeros(1, numpy.longdouble), r"\.astype\('float64'\)"),
            (numpy.ma.array([1], mask=[True]), r"masked array .*\.filled"),
            (numpy.datetime64("2026-11-27"), r"numpy\.datetime64"),
            (numpy.timedelta64(1, "ns"), r"numpy\.timedelta64"),
            (numpy.complex64(1), r"numpy\.complex64"),
            (numpy.longdouble(1), r"numpy\.longdouble|numpy\.float128"),
            (memoryview(b"\1").cast("?"), r"format \"\?\" .*\.tolist"),
        ]:
            with self.assertRaisesRegex(ValueFormError, words):
                dumps([value])

    def test_arrays_that_are_none_are_refused(self) -> None:
        def shaped(shape: list[Any], data: bytes = bytes(8)) -> bytes:
            return b"\xd8\x28\x82" + dumps(shape) + b"\xd8\x40" + dumps(data)

        self.assertEqual(loads(shaped([2, 4])).shape, (2, 4))
        cases = [shaped([2, 3]), shaped([2**32, 2**32]), shaped([2**63, 2]), shaped([2**64]), shaped([-1, -8])]
        cases += [shaped([0, 2**62, 2**62]), shaped([0, 2**63], b""), shaped([1] * 65, b"x"), shaped([8.0])]
        cases += [shaped(cast("list[Any]", {})), shaped([]), shaped([[8]])]
        # Numbers of half a width, of 16 bytes, with a reserved tag; parts that are missing, or too many.
        texts = ["d84543010203", "d85350" + "00" * 16, "d84c40", "d8406161", "d84081", "d82880", "d828818108"]
        texts += ["d82882810140", "d828838108d840480000000000000000f6", "a1d8404101f6", "d9010281d84040", "d82881"]
        for data in cases + [bytes.fromhex(text) for text in texts]:
            for read in (loads, without_numpy):
                with self.assertRaises(ValueFormError, msg=data.hex()):
                    read(data)


if __name__ == "__main__":
    unittest.main()
