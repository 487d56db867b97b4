"""Counts the words of text files, each file on some host, and adds the counts up here.

Hosts see none of your files: this program reads them, as hosts ask for more, and sends what is in them. What a function
returns comes back as the same kind of value: here it is a dict.

    python word_count.py *.txt
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import wasm_grid as grid


def count_words(text: str) -> dict[str, int]:
    """How often each word is in a text, whether in small letters or capitals."""
    return Counter(re.findall(r"\w+", text.lower()))


def main(names: list[str]) -> None:
    total: Counter[str] = Counter()
    with grid.connect() as client:
        for outcome in client.map(count_words, (Path(name).read_text(errors="replace") for name in names)):
            # A task's number is that of its input. The value of one that has failed would raise a TaskError.
            print(f"{names[outcome.task]}: {len(outcome.value)} different words, by {outcome.host}")
            total.update(outcome.value)
    for word, times in total.most_common(10):
        print(f"{times:>8} {word}")


if __name__ == "__main__":
    main(sys.argv[1:])
