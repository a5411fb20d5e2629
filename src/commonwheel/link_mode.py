"""Link modes: how a distribution gets from the store into an environment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class LinkMode(Enum):
    """How a distribution gets into an environment."""

    MANIFEST = "manifest"
    """A link manifest, and links in the view."""
    AUTO = "auto"
    """Real files, by the first of the three below that works."""
    REFLINK = "reflink"
    """Real files that share their data with the store's until one of them is written."""
    HARDLINK = "hardlink"
    """Real names of the store's own, read-only files."""
    COPY = "copy"
    """Real files that share nothing."""


@dataclass(frozen=True)
class LinkChoice:
    """Which link mode is wanted, of all distributions and of some."""

    mode: LinkMode = LinkMode.MANIFEST
    real: frozenset[str] = frozenset()
    """Distributions (normalized names) to install as real files whatever the mode."""

    def of(self, name: str) -> LinkMode:
        """The mode for the distribution ``name`` (normalized)."""
        if self.mode is LinkMode.MANIFEST and name in self.real:
            return LinkMode.AUTO
        return self.mode
