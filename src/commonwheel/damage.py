"""Damage: what can be wrong with an entry, or an environment, and what may show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Fault(Enum):
    """What can be wrong with a file, a link or a folder."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    MODE = "mode"
    """Other permission bits: somebody may write to it who should not."""
    DAMAGED = "damaged"
    """It cannot be understood."""
    UNREADABLE = "unreadable"
    EDITED = "edited"
    """A real file that belongs to one environment, where it may have been meant so."""


_SAID = {
    Fault.CHANGED: "was changed",
    Fault.MISSING: "is missing",
    Fault.ADDED: "does not belong there",
    Fault.MODE: "has other permissions",
    Fault.DAMAGED: "is damaged",
    Fault.UNREADABLE: "cannot be read",
    Fault.EDITED: "was edited here",
}


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with an entry, or with an environment."""

    place: Path
    """The entry's folder, or a site-packages folder."""
    path: str
    """Relative to it, with ``/``; empty: all of it."""
    fault: Fault
    detail: str = ""
    distribution: str = ""
    """Of an environment: whose it is (normalized), if it is one's."""

    def __str__(self) -> str:
        path = f" {self.path}" if self.path else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.place}:{path} {_SAID[self.fault]}{detail}"


@dataclass(frozen=True)
class Reading:
    """A file that has to be read, and what is wrong if its hash is another one."""

    file: str
    """Its path."""
    hash: str
    """As in RECORD."""
    size: int
    """In bytes."""
    otherwise: Damage


@dataclass(frozen=True)
class Look:
    """What a walk has found."""

    damages: tuple[Damage, ...]
    readings: tuple[Reading, ...]
    """What it takes to know the rest."""
    files: int
    size: int
    """Of all files that were looked at, in bytes."""
