"""What making an environment equal to a lock will change. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from packaging.utils import parse_wheel_filename

from commonwheel import digests, direct_url, files, installed, location
from commonwheel.contents import Contents
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment
from commonwheel.errors import IncompatibleWheel, InvalidStore
from commonwheel.installed import Installed
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.lock_errors import (
    EditableRefused,
    MissingHash,
    NotBuiltHere,
    SourceRefused,
)
from commonwheel.manifest import Manifest
from commonwheel.pin import SOURCES, Kind, Pin
from commonwheel.plan import plan_removal
from commonwheel.store import Store

_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class SyncPlan:
    """What making an environment equal to a lock will change."""

    up_to_date: tuple[Pin, ...]
    linked: tuple[tuple[Pin, Entry], ...]
    """What the store has."""
    fetched: tuple[Pin, ...]
    """What is fetched, and linked then."""
    built: tuple[Pin, ...]
    """What is built from source, and linked then."""
    projects: tuple[Pin, ...]
    """What the host installs its own way."""
    removed: tuple[str, ...]
    """Names of distributions that the lock does not name."""
    present: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The versions that are there now of what is replaced or removed, by name."""
    allow_sdist: bool = False
    """Whether what an index has no wheel of may be built."""
    links: LinkChoice = LinkChoice()  # noqa: RUF009  frozen
    """Which of the linked are to be links, which real files."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        changes = (self.linked, self.fetched, self.built, self.projects, self.removed)
        return not any(changes)


class _Way(Enum):
    """How a distribution gets into an environment; the store's entry stands for one."""

    NONE = auto()
    FETCH = auto()
    BUILD = auto()
    PROJECT = auto()


def plan_sync(
    pins: Sequence[Pin],
    environment: Environment,
    store: Store,
    *,
    links: LinkChoice = LinkChoice(),  # noqa: B008  frozen
    inexact: bool = False,
    require_hashes: bool = False,
    allow_sdist: bool = False,
    mendable: bool = True,
) -> SyncPlan:
    """What it takes to make ``environment`` hold ``pins`` and no more.

    ``inexact``: others may stay. ``links`` says which of them are to be links, which
    real files; real files that are there already are not made links.

    Never removed are pip, and commonwheel with what it requires where it is installed;
    nor are they linked: it takes them to mend an environment whose store is gone. A plain
    folder needs no store; it is given them as all others. So is what is made anew rather
    than mended (not ``mendable``). Writes nothing, and starts nothing.

    With a hash, an entry is chosen by it. ``NAME==VERSION`` without hashes says no more
    than that: of the entries of that version the one with the best tags is taken, of
    those with the same tags the last by name.

    :raises MissingHash: ``require_hashes``, and nothing vouches for one of them
    :raises SourceRefused: one has to be built, and not ``allow_sdist``
    :raises NotBuiltHere: one has to be built for a foreign Python
    :raises EditableRefused: one is to be editable in a plain folder
    :raises IncompatibleWheel: a wheel is for another Python or platform
    :raises InvalidEnvironment: a distribution that has to go has no RECORD
    :raises InvalidStore: an entry cannot be read
    :raises OSError: the environment or a wheel on this machine cannot be read
    """
    present = installed.read(environment)
    names = {*present, *(pin.name for pin in pins)}
    mending = installed.needed_to_mend(environment, names) if mendable else set()
    unlinked = frozenset() if environment.plain else mending
    ranks = {tag: rank for rank, tag in enumerate(environment.tags or ())}
    planner = _Planner(environment, ranks, store, store.contents(), allow_sdist, links)
    ways: dict[_Way, list[Pin]] = {way: [] for way in _Way}
    linked: list[tuple[Pin, Entry]] = []
    for each in pins:
        if require_hashes:
            _check_hash(each)
        pin = _with_hash(each)
        there = present.get(pin.name, [])
        way = planner.way(pin, there, linkable=pin.name not in unlinked)
        if isinstance(way, Entry):
            linked.append((pin, way))
        else:
            ways[way].append(pin)
    wanted = {pin.name for pin in pins}
    removed = () if inexact else sorted(present.keys() - wanted - mending)
    replaced = {pin.name for pin in (*ways[_Way.FETCH], *ways[_Way.BUILD])}
    replaced |= {pin.name for pin, _ in linked}
    plan_removal({*removed, *replaced}, environment)  # refuses what cannot be removed
    changed = {*removed, *replaced, *(pin.name for pin in ways[_Way.PROJECT])}
    return SyncPlan(
        up_to_date=tuple(ways[_Way.NONE]),
        linked=tuple(linked),
        fetched=tuple(ways[_Way.FETCH]),
        built=tuple(ways[_Way.BUILD]),
        projects=tuple(ways[_Way.PROJECT]),
        removed=tuple(removed),
        present={name: present[name][0].version for name in changed & present.keys()},
        allow_sdist=allow_sdist,
        links=links,
    )


@dataclass(frozen=True)
class _Planner:
    """Finds out how each distribution gets into an environment."""

    environment: Environment
    ranks: Mapping[str, int]
    """Of the environment's tags, the best one first."""
    store: Store
    contents: Contents
    allow_sdist: bool
    links: LinkChoice

    def way(self, pin: Pin, there: list[Installed], *, linkable: bool) -> _Way | Entry:
        only = there[0] if len(there) == 1 else None
        is_project = pin.editable or pin.kind is Kind.DIRECTORY
        if only is not None and self._is_there(pin, only, linkable, is_project):
            return _Way.NONE
        self._check_tags(pin)
        if linkable and not is_project:
            entry = self._find(pin)
            if entry is not None:
                return entry
        if is_project or pin.kind in SOURCES:
            source = pin.filename or location.public(pin.location or "")
            if self.environment.foreign:
                raise NotBuiltHere(str(pin), source, str(self.environment))
            if pin.editable and self.environment.plain:
                raise EditableRefused(str(pin), self.environment.sites[0])
            if not is_project and not self.allow_sdist:
                raise SourceRefused(str(pin), source)
        if (is_project and not self.environment.plain) or not linkable:
            return _Way.PROJECT
        return _Way.BUILD if is_project or pin.kind in SOURCES else _Way.FETCH

    def _is_there(
        self, pin: Pin, there: Installed, linkable: bool, is_project: bool
    ) -> bool:
        if not linkable:
            return pin.allows(there.version)
        return _is_editable(pin, there) if is_project else self._is_linked(pin, there)

    def _is_linked(self, pin: Pin, there: Installed) -> bool:
        """Whether a distribution is linked to the wheel that ``pin`` names."""
        link = there.link
        if link is None or not pin.allows(link.version) or not self._is_as_chosen(link):
            return False
        if not direct_url.agrees(pin, there.direct_url):
            return False
        if link.is_linked and not _has_entry(link):
            return False
        digests = pin.sha256s
        if pin.kind in (Kind.WHEEL, Kind.INDEX) and link.sha256 in digests:
            return True
        if pin.kind is Kind.INDEX and not pin.hashes:
            return True
        if pin.direct and (pin.kind is not Kind.WHEEL or not pin.hashes):
            return True  # direct_url.json says which commit or archive it was
        remembered = self._remembered(pin)
        return remembered is not None and remembered.description.sha256 == link.sha256

    def _is_as_chosen(self, link: Manifest) -> bool:
        """Whether a distribution got here by the link mode that is wanted now."""
        wanted = self.links.of(link.name)
        if wanted is LinkMode.AUTO:
            return not link.is_linked
        return wanted in (LinkMode.MANIFEST, link.mode)

    def _find(self, pin: Pin) -> Entry | None:
        """The entry that ``pin`` names, if the store has it."""
        found: Iterable[Entry] = ()
        if pin.kind in (Kind.WHEEL, Kind.INDEX) and pin.hashes:
            found = self.contents.of_digests(pin.name, pin.sha256s)
        elif pin.kind is Kind.INDEX:
            found = self.contents.of_name(pin.name)
        # a hash of another version is a mistake in the lock: pip, asked for it, says so
        allowed = (each for each in found if pin.allows(each.description.version))
        return self._best(allowed) or self._remembered(pin)

    def _remembered(self, pin: Pin) -> Entry | None:
        for origin in pin.origins(self.environment.cache_tag):
            entry = self.store.of_origin(origin)
            if entry is None or not pin.allows(entry.description.version):
                continue
            if self._best([entry]) is not None:
                return entry
        return None

    def _best(self, entries: Iterable[Entry]) -> Entry | None:
        """The entry with the best tags, or None if none of them fits."""
        worst = len(self.ranks)

        def rank(entry: Entry) -> int:
            return min(self.ranks.get(tag, worst) for tag in entry.description.tags)

        fitting = [entry for entry in entries if rank(entry) < worst]
        last_first = sorted(fitting, key=lambda each: each.description.id, reverse=True)
        return min(last_first, key=rank, default=None)

    def _check_tags(self, pin: Pin) -> None:
        """Refuse a wheel that is named by URL or path; a lock chooses from the others.

        :raises IncompatibleWheel: it is for another Python or platform
        """
        if pin.kind is Kind.WHEEL and pin.direct:
            assert pin.filename is not None
            tags = {str(tag) for tag in parse_wheel_filename(pin.filename)[3]}
            if self.ranks.keys().isdisjoint(tags):
                described = pin.filename.removesuffix(".whl").split("-", 2)[2]
                path = Path(pin.filename)
                raise IncompatibleWheel(path, described, str(self.environment))


def _has_entry(link: Manifest) -> bool:
    try:
        return read_entry(link.entry) is not None
    except InvalidStore:
        return False


def _with_hash(pin: Pin) -> Pin:
    """``pin`` with the hash of its wheel, if that is on this machine and has none."""
    if pin.kind is Kind.WHEEL and pin.path is not None and not pin.hashes:
        with files.open_to_read(pin.path) as file:
            found = digests.of(file, {"sha256"})
        return replace(pin, hashes=frozenset(found.items()))
    return pin


def _check_hash(pin: Pin) -> None:
    if pin.kind is Kind.DIRECTORY or pin.kind is Kind.VCS:
        what = "a folder" if pin.kind is Kind.DIRECTORY else "a repository"
        raise MissingHash(str(pin), f"it comes from {what}, which has no hash")
    if not pin.hashes:
        raise MissingHash(str(pin), "the lock has no hash of it, and hashes are required")


def _is_editable(pin: Pin, there: Installed) -> bool:
    """Whether a project is installed as an editable one already, and as it is now.

    One that is not editable is installed anew each time: it may have changed.
    """
    found = there.direct_url or {}
    if not pin.editable or not found.get("dir_info", {}).get("editable"):
        return False
    if pin.path is None or found.get("url") != pin.path.as_uri():
        return False
    since = there.metadata.stat().st_mtime
    described = (pin.path / name for name in _PROJECT_FILES)
    return all(file.stat().st_mtime <= since for file in described if file.exists())
