"""The wheel, installed as people do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ASK = """
import importlib.metadata as metadata, json, wasm_grid
about = metadata.metadata("wasm-grid")
fields = {field: about.get_all(field) for field in about}
print(json.dumps({"fields": fields, "version": wasm_grid.__version__, "text": about.get_payload()}))
"""

PROGRAMS = """
from wasm_grid._programs import program
print([program("grid"), program("grid-host")])
"""

OWN_GRID = """
import sys, wasm_grid
with wasm_grid.connect("local", slots=1) as client:
    print(client.hosts()[0]["walls"][0], [found["count"] for found in client.map(sys.argv[1], [(0, 1000)]).values()])
"""


@unittest.skipUnless("GRID_WHEELS" in os.environ, "there is no wheel; `cargo xtask python` makes one")
class Wheel(unittest.TestCase):
    def test_it_installs_without_a_network_and_brings_everything_but_what_builds_functions(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # Nothing of the tests' own package is found, and no program but what is installed.
            environment = {"PATH": "", "HOME": folder, "LANG": "C.UTF-8"}

            def run(*command: str) -> str:
                done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=120)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout

            run(sys.executable, "-m", "venv", "venv")
            python = str(Path(folder, "venv", "bin", "python"))
            offline = ["--no-index", "--disable-pip-version-check", "--find-links", os.environ["GRID_WHEELS"]]
            run(python, "-m", "pip", "install", *offline, "wasm-grid")

            about = json.loads(run(python, "-c", ASK))
            fields = about["fields"]
            self.assertEqual([fields["Version"], fields["Requires-Python"]], [[about["version"]], [">=3.9"]])
            self.assertEqual(fields["License-Expression"], ["MIT OR Apache-2.0"])
            self.assertEqual(fields["Provides-Extra"], ["build"])
            self.assertRegex(fields["Requires-Dist"][0], r"^componentize-py==\S+ ; extra == 'build'$")
            self.assertEqual(len(fields["Requires-Dist"]), 1)
            readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
            said = about["text"] or fields["Description"][0]
            self.assertEqual(said.strip(), readme.strip())

            version = about["version"]
            self.assertEqual(run(python, "-m", "wasm_grid", "--version"), f"grid {version}\n")
            bin = os.path.realpath(Path(folder, "venv", "bin"))
            self.assertEqual(run(python, "-c", PROGRAMS), f"{[os.path.join(bin, name) for name in ('grid', 'grid-host')]}\n")
            self.assertEqual(run(os.path.join(bin, "grid-host"), "--version"), f"grid-host {version}\n")

            # Workers of a grid in Python's process run in processes of their own, by the installed program.
            primes = os.path.join(os.environ["GRID_MODULES"], "primes.wasm")
            self.assertEqual(run(python, "-c", OWN_GRID, primes), "process [168]\n")


if __name__ == "__main__":
    unittest.main()
