"""Link modes: how a distribution gets from the store into an environment."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """Real files of their own, copied by the kernel (which may share their data)."""


@dataclass(frozen=True)
class LinkChoice:
    """Which link mode is wanted, of all distributions and of some."""

    mode: LinkMode = LinkMode.MANIFEST
    real: frozenset[str] = frozenset()
    """Distributions (normalized names) that need files of their own, to write to."""

    def of(self, name: str) -> LinkMode:
        """The mode for the distribution ``name`` (normalized).

        A hard link is the store's own file, and nothing to write to.
        """
        if name in self.real and self.mode is not LinkMode.REFLINK:
            return LinkMode.COPY
        return self.mode

    def anywhere(self) -> LinkChoice:
        """The same for a place that nobody has chosen, where not every mode may work."""
        if self.mode in (LinkMode.REFLINK, LinkMode.HARDLINK):
            return replace(self, mode=LinkMode.AUTO)
        return self
