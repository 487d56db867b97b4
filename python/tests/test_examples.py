"""The examples, run as their readers run them."""

from __future__ import annotations

import os
import re
import runpy
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Optional

from grid_processes import MODULES, Grid, functions_at_hand

EXAMPLES = Path(__file__).parent.parent / "examples"


def png(width: int, height: int) -> bytes:
    """A picture in grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = (b"\0" + bytes([128]) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


class Examples(unittest.TestCase):
    grid: Grid

    @classmethod
    def setUpClass(cls) -> None:
        cls.grid = Grid(hosts=2, home=functions_at_hand() / "examples")
        # Each has a function that is built and compiled the first time: side by side, that takes half as long.
        with ThreadPoolExecutor() as threads:
            first = [["primes.py", "2"], ["word_count.py", __file__], ["monte_carlo.py", "1"]]
            for done in [threads.submit(cls.start, *words, home=cls.grid.home) for words in first]:
                done.result()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.grid.__exit__(None, None, None)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    @classmethod
    def start(cls, name: str, *arguments: str, home: Path, folder: str = ".") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "GRID_HOME": str(home)}
        if home == cls.grid.home:
            environment["GRID_MANAGER"] = cls.grid.address
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)

    def run_example(self, name: str, *arguments: str, code: int = 0, home: Optional[Path] = None) -> str:
        """What an example prints: on the grid of the test, or on one of its own if it has a home of its own."""
        done = self.start(name, *arguments, home=home or self.grid.home, folder=str(self.folder))
        self.assertEqual(done.returncode, code, done.stderr)
        if code == 0:
            self.assertEqual(done.stderr, "")
        return done.stdout + done.stderr

    def test_every_example_has_a_test_fits_on_a_screen_and_says_how_it_is_started(self) -> None:
        examples = sorted(EXAMPLES.glob("*.py"))
        self.assertEqual(len(examples), 5)
        for example in examples:
            source = example.read_text()
            self.assertIn(f'run_example("{example.name}"', Path(__file__).read_text())
            self.assertLessEqual(len(source.splitlines()), 40, example)
            self.assertIn(f"\n    python {example.name}", source)
            self.assertIn('\nif __name__ == "__main__":\n', source)

    def test_primes_and_asyncio_tasks_count_with_one_function_that_is_built_once(self) -> None:
        self.assertEqual(self.run_example("primes.py", "10500"), "1284 primes below 10500\n")
        built = sorted((self.grid.home / "functions").glob("*.wasm"))
        said = re.fullmatch(
            r"3245 primes below 30000; meanwhile the loop went round (\d+) times\n", self.run_example("asyncio_tasks.py")
        )
        assert said is not None
        self.assertGreater(int(said[1]), 1)
        self.assertEqual(sorted((self.grid.home / "functions").glob("*.wasm")), built)

    def test_word_count_adds_up_what_is_in_all_files(self) -> None:
        texts = {"one.txt": "The grid, the GRID.\nÄpfel äpfel ", "two.txt": "the end", "none.txt": ""}
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        lines = self.run_example("word_count.py", *texts).splitlines()
        counted = sorted(re.sub(r"host\d", "HOST", line) for line in lines[:3])
        self.assertEqual(
            counted, [f"{name}: {words} different words, by HOST" for name, words in zip(sorted(texts), (0, 3, 2))]
        )
        self.assertEqual(lines[3], "       3 the")
        self.assertEqual(sorted(lines[4:6]), ["       2 grid", "       2 äpfel"])
        self.assertEqual(lines[6:], ["       1 end"])

    def test_monte_carlo_throws_the_same_darts_on_hosts_as_here(self) -> None:
        here = sum(map(runpy.run_path(str(EXAMPLES / "monte_carlo.py"))["hits"], range(3)))
        said = self.run_example("monte_carlo.py", "3")
        self.assertEqual(said, f"pi is about {4 * here / 60_000:.6f}, by 60000 darts\n")

    def test_images_become_small_on_hosts_and_in_a_grid_of_its_own(self) -> None:
        (self.folder / "wide.png").write_bytes(png(640, 320))
        (self.folder / "no-picture.png").write_bytes(b"GIF89a")
        homes = [None, self.folder / "home"]
        for home in homes:
            thumbnail = str(MODULES / "thumbnail.wasm")
            said = self.run_example("images.py", thumbnail, "small", "wide.png", "no-picture.png", code=1, home=home)
            self.assertRegex(said, r"(?m)^wide.png: \d+ bytes, \d+ ms on \S+$")
            self.assertRegex(said, r"(?m)^no-picture.png: task 1 failed")
            small = self.folder / "small" / "wide.png"
            self.assertEqual(struct.unpack(">II", small.read_bytes()[16:24]), (128, 64))
            small.unlink()
            self.assertEqual(list((self.folder / "small").iterdir()), [])


if __name__ == "__main__":
    unittest.main()
