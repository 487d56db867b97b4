"""Jobs as notebooks show them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._wasm_grid import JobInfo


def table_of(info: JobInfo) -> str:
    """A job as a small table: what it is, how far, and where."""
    state = info["state"] if info["why"] is None else f"{info['state']}: {info['why']}"
    rows = [
        ("name", info["name"]),
        ("id", info["id"]),
        ("state", state),
        ("tasks done", f"{info['done']} of {info['submitted']}"),
        ("waiting", str(info["waiting"])),
        ("running", str(info["leased"])),
        ("failed", str(info["dead"])),
        ("retried", str(info["retried"])),
        ("hosts", str(info["hosts"])),
    ]
    return _table(rows)


def table_without(id: str, why: str) -> str:
    """A job of which nothing is known, and why."""
    return _table([("id", id), ("state", f"not known: {why}")])


def _table(rows: list[tuple[str, str]]) -> str:
    lines = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table>{lines}</table>"
