"""Sights: what can be seen of an environment that holds entries of a store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from commonwheel import filesystem, manifest
from commonwheel.link_mode import LinkMode
from commonwheel.root import Root


class State(Enum):
    """Whether an environment that was registered is there."""

    PRESENT = "present"
    """It is, and says itself what it holds."""
    UNREADABLE = "unreadable"
    """It is, and cannot be asked: it holds what it held."""
    UNREACHABLE = "unreachable"
    """What it lay on is not there (a disk that is not mounted): it may come back."""
    GONE = "gone"
    """It has been removed."""


@dataclass(frozen=True)
class Sight:
    """What was seen of an environment."""

    state: State
    entries: Mapping[str, LinkMode]
    """What it holds: the entries' names, and how it got them. If it is not there, what
    it held as far as was noted."""
    reason: str = ""
    """Why it could not be asked."""


def is_there(site: Path) -> bool:
    """Whether a folder is there. That it cannot be told is an error, unlike with exists.

    :raises OSError: it cannot be told
    """
    try:
        os.stat(site)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def held(site: Path) -> dict[str, LinkMode]:
    """The entries that the links in a site-packages folder lead to.

    The name of an entry is enough: a store may be seen under another path from there.

    Nobody is kept from changing the environment meanwhile. A manifest is put aside by a
    change, and put back by whoever takes that back: so each place is looked at before and
    after the other.

    :raises ValueError: what it holds cannot be told
    :raises OSError: it cannot be read
    """
    before = _changed(site)
    aside, links = manifest.read_aside, manifest.read_entries
    found = dict((*aside(site), *links(site), *aside(site)))
    if _changed(site) != before:  # most are not, and there are very many to be read
        found.update(links(site))
    if not found and manifest.is_lost(site):
        raise ValueError("it has links and no link manifests")
    return found


def _changed(site: Path) -> int | None:
    """When a manifest was put into its folder last, or taken away; in nanoseconds."""
    try:
        return os.stat(site / manifest.LINKS).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def lay_here(root: Root) -> bool:
    """Whether what an environment lay on is there, so that it must have been removed.

    A folder of a disk that is not mounted is on another filesystem than the environment
    was, or on none.
    """
    return any(filesystem.identity(site) == root.filesystem for site in root.sites)
