"""One table of figures: what was tried, how often, and how much of it was not held."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    subject: str
    """``wheels``, ``crowds``, ``crashes``, ``power cuts``, ``neighbours``, ``room``."""
    what: str
    """What was tried, in a few words."""
    tried: int
    failed: int
    """How often what was promised did not hold."""
    note: str = ""
    """What else is worth knowing, in a few words: a maximum, a duration."""


def table(figures: Iterable[Figure]) -> str:
    """The figures as a table in Markdown, with the size of the machine above."""
    rows = [
        "| | tried | not held | |",
        "|---|---:|---:|---|",
        *(
            f"| {each.subject}: {each.what} | {each.tried:,} | {each.failed:,} |"
            f" {each.note} |"
            for each in figures
        ),
    ]
    return "\n".join([machine(), "", *rows])


def machine() -> str:
    """What this was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GiB of memory,"
        f" Linux {platform.release().partition('-')[0]},"
        f" Python {platform.python_version()}, {_filesystem(Path.cwd())}"
    )


def _filesystem(path: Path) -> str:
    """The kind of filesystem that holds ``path``."""
    found = ("", "")
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        _, place, kind, *_ = line.split()
        if path.is_relative_to(place) and len(place) >= len(found[0]):
            found = place, kind
    return found[1]
