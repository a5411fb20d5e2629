"""The plan of a repair, and what became of it: data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from commonwheel.damage import Damage
from commonwheel.manifest import Manifest


@dataclass(frozen=True)
class Broken:
    """An entry that is missing or damaged."""

    root: Path
    """Its folder."""
    name: str
    """Of the distribution, normalized."""
    version: str
    sha256: str | None
    """Of its wheel, in full; None if nobody says it."""
    damages: tuple[Damage, ...]
    origins: tuple[str, ...] = ()
    """URLs that environments say they have installed it from (:pep:`610`)."""
    tags: tuple[str, ...] = ()
    """The Pythons that it had bytecode for."""

    def __str__(self) -> str:
        first = self.damages[0]
        more = f" and {len(self.damages) - 1:,} more" if len(self.damages) > 1 else ""
        return f"{first}{more}"


@dataclass(frozen=True)
class Again:
    """A distribution of an environment that has to be linked again."""

    site: Path
    """Where its link manifest is; of an older Python, if the environment has another."""
    manifest: Manifest
    damages: tuple[Damage, ...]


@dataclass(frozen=True)
class Former:
    """Where an environment was before it was moved."""

    places: tuple[Path, ...]
    files: tuple[Path, ...] = ()
    """Its files that still say so."""


@dataclass(frozen=True)
class RepairPlan:
    """What is to be mended."""

    entries: tuple[Broken, ...] = ()
    again: tuple[Again, ...] = ()
    """Linked anew, in the order they were linked in before."""
    renew: tuple[Damage, ...] = ()
    """The environment's runtime is not as it should be."""
    left: tuple[Damage, ...] = ()
    """Links of nobody."""
    hopeless: tuple[tuple[str, str], ...] = ()
    """What cannot be mended, and the way out."""
    kept: tuple[Damage, ...] = ()
    """Files that somebody has edited, and that stay as they are."""
    former: Former | None = None
    """If files of the environment name a place that it is not at any more."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        others = self.renew or self.left or self.former
        return not (self.entries or self.again or others)


@dataclass
class Outcome:
    """What became of it."""

    mended: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    """What stays as it was, and why, with the way out."""
    remarks: list[str] = field(default_factory=list)
