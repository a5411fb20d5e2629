"""Status: what an environment has from a store, and what that saves. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commonwheel import installed, manifest, record
from commonwheel.entry import Entry
from commonwheel.entry_folder import bytecode_of, read_entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidStore
from commonwheel.installation import shared_rows
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest


@dataclass(frozen=True)
class LinkedDistribution:
    """One distribution that an environment has from a store."""

    name: str
    version: str
    entry: Path
    """The entry's folder."""
    mode: LinkMode
    """How it got here."""
    present: bool
    """Whether the entry is there and readable."""
    bytes_saved: int
    """Of modules and data, and of bytecode if it is linked, that are in the store alone
    or share their data with it."""
    inodes_saved: int
    """Files and folders that copying would have made, less those that linking made."""


@dataclass(frozen=True)
class EnvironmentStatus:
    """What an environment has from a store."""

    environment: Environment
    linked: tuple[LinkedDistribution, ...]
    plain: int
    """How many others it holds."""

    @property
    def bytes_saved(self) -> int:
        """By all linked distributions."""
        return sum(each.bytes_saved for each in self.linked)

    @property
    def inodes_saved(self) -> int:
        """By all linked distributions."""
        return sum(each.inodes_saved for each in self.linked)


def status(environment: Environment) -> EnvironmentStatus:
    """What ``environment`` has from a store.

    :raises ValueError: a manifest is damaged; names it
    :raises OSError: the environment is not readable
    """
    linked = tuple(
        _describe(site, each, environment.cache_tag)
        for site in environment.sites
        for _, each in sorted(manifest.read_all(site).items())
    )
    names = {each.name for each in linked}
    there = {
        name
        for name, found in installed.read(environment).items()
        if any(each.metadata.suffix == ".dist-info" for each in found)
    }
    return EnvironmentStatus(environment, linked, len(there - names))


def _describe(site: Path, link: Manifest, cache_tag: str) -> LinkedDistribution:
    try:
        entry = read_entry(link.entry)
    except InvalidStore:
        entry = None
    size, inodes = 0, 0
    if entry is not None:
        size, inodes = _weigh(entry, link.mode, cache_tag)
    if link.is_linked and entry is not None:
        inodes -= _made_by_linking(site / link.metadata / "RECORD")
    return LinkedDistribution(
        link.name, link.version, link.entry, link.mode, entry is not None, size, inodes
    )


def _weigh(entry: Entry, mode: LinkMode, cache_tag: str) -> tuple[int, int]:
    """Bytes and inodes of what is in the store alone, for one Python.

    Bytecode of real files is a file of its own.
    """
    description = entry.description
    if mode is LinkMode.COPY:
        return 0, 0
    if mode is LinkMode.REFLINK:
        return description.size, 0
    if mode is LinkMode.HARDLINK:
        sizes = [int(row.size) for row in shared_rows(entry)]
        return sum(sizes), len(sizes)
    compiled, compiled_size = bytecode_of(entry, cache_tag) or (0, 0)
    real_size = sum(file.size for file in description.real)
    return (
        description.size - real_size + compiled_size,
        description.files - len(description.real) + description.folders + compiled,
    )


def _made_by_linking(path: Path) -> int:
    """How many inodes a linked distribution has that a copied one has not.

    Bytecode in the view is the store's, by a hard link.
    """
    try:
        listed = record.paths(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return 0
    ours = [row for row in listed if row.startswith(f"{manifest.FOLDER}/")]
    return sum("/__pycache__/" not in row for row in ours)
