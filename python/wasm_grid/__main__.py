"""`python -m wasm_grid` is the command `grid`."""

import os
import sys

from ._programs import program

if __name__ == "__main__":
    os.execv(program("grid"), ["grid", *sys.argv[1:]])
