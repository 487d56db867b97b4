"""Makes pictures small, by a worker in Rust: modules/thumbnail of the repository, which `cargo xtask modules` builds.

A module in any language goes where a function goes. This one is an ordinary program: a task is its standard input, and
what it prints is the answer. With `raw=True` bytes go as they are, and come back in `results`.

    python images.py thumbnail.wasm small/ photos/*
"""

from __future__ import annotations

import sys
from pathlib import Path

import wasm_grid as grid

SIZE = 128


def main(module: Path, folder: Path, pictures: list[Path]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with grid.connect() as client:
        files = (picture.read_bytes() for picture in pictures)
        # The arguments are the program's own: the longest side, in pixels.
        for outcome in client.map(module, files, raw=True, arguments=str(SIZE).encode(), retries=0):
            picture = pictures[outcome.task]
            if outcome.error is not None:
                print(f"{picture}: {outcome.error}", file=sys.stderr)
                failed += 1
                continue
            (folder / f"{picture.stem}.png").write_bytes(outcome.results[0])
            print(f"{picture}: {len(outcome.results[0])} bytes, {outcome.seconds * 1000:.0f} ms on {outcome.host}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), list(map(Path, sys.argv[3:]))))
