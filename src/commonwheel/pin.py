"""A pin: what a lock names for one environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.version import InvalidVersion, Version

from commonwheel.location import is_url

Hashes = frozenset[tuple[str, str]]
"""Pairs of an algorithm and a digest in hexadecimal; a file has to have one of them."""


class Kind(Enum):
    """What a distribution comes from."""

    WHEEL = "wheel"
    SDIST = "sdist"
    """A source distribution, of an index."""
    ARCHIVE = "archive"
    """An archive with a project in it, named by its URL."""
    VCS = "vcs"
    """A commit of a repository."""
    DIRECTORY = "directory"
    """A project's folder."""
    INDEX = "index"
    """``NAME==VERSION``: which file of an index it is, is not said."""


SOURCES = frozenset({Kind.SDIST, Kind.ARCHIVE, Kind.VCS})
"""What a wheel is built from."""


@dataclass(frozen=True)
class Pin:
    """One distribution that a lock names for an environment, and what it comes from."""

    name: str
    """Normalized."""
    version: str | None
    """None where only building tells it."""
    kind: Kind
    filename: str | None = None
    """Of the wheel or archive."""
    location: str | None = None
    """A URL, or an absolute path; of a repository for VCS. None for INDEX."""
    hashes: Hashes = frozenset()
    """The file has one of these digests; of INDEX, any file of the distribution."""
    size: int | None = None
    """Of the file, in bytes, if the lock says it."""
    direct: bool = False
    """Whether it is named by ``location``, not by version (:pep:`610`)."""
    editable: bool = False
    subdirectory: str | None = None
    """Of an archive or repository: where the project is."""
    vcs: str | None = None
    """``git``, ``hg``, ..., for VCS."""
    commit: str | None = None
    requested_revision: str | None = None
    """The branch or tag that the commit was of."""

    @property
    def path(self) -> Path | None:
        """``location``, if it is on this machine."""
        if self.location is None or is_url(self.location):
            return None
        return Path(self.location)

    @property
    def sha256s(self) -> set[str]:
        """The sha256 digests that its file may have."""
        return {digest for algorithm, digest in self.hashes if algorithm == "sha256"}

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else self.name

    def allows(self, version: str) -> bool:
        """Whether ``version`` is one that it allows.

        ``NAME==VERSION`` without a local part allows any local part (:pep:`440`); a file
        that a lock names has the very version that the lock says.
        """
        if self.version is None:
            return True
        try:
            wanted, found = Version(self.version), Version(version)
        except InvalidVersion:
            return self.version == version
        if self.kind is Kind.INDEX and wanted.local is None:
            found = Version(found.public)
        return found == wanted

    def origins(self, cache_tag: str) -> Iterator[str]:
        """What else than a sha256 of its own says for ever which wheel it means.

        A wheel that was built is of its source and of the Python that built it.
        """
        hashes = [f"{algorithm}:{digest}" for algorithm, digest in sorted(self.hashes)]
        if self.kind is Kind.VCS:
            repository = f"{self.vcs}+{self.location}@{self.commit}"
            yield f"{repository}#{self.subdirectory or ''} {cache_tag}"
        elif self.kind is Kind.INDEX and hashes:
            # which of the files it was is not known
            yield f"{self.name} {self.version} {' '.join(hashes)} {cache_tag}"
        elif self.kind in SOURCES:
            yield from (
                f"{each}#{self.subdirectory or ''} {cache_tag}" for each in hashes
            )
        elif self.kind is Kind.WHEEL:
            yield from hashes
