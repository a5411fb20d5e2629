"""Sync: the story. What a lock names -> what is lacking -> an environment equal to it.

What a store has is linked; a :class:`Host`, the installer that commonwheel works for,
fetches and builds the rest, and installs what is not linked: projects, and what an
environment is mended with. Everything is fetched and built before anything changes, and
then one step links all and removes the rest.

Every distribution of a lock counts as asked for by name (the REQUESTED file of
:pep:`376`), as it does when pip, pip-sync or uv install from a lock.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from packaging.utils import parse_wheel_filename

from commonwheel import direct_url, installed, location, wheel
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import (
    HostFailed,
    IncompatibleWheel,
    InvalidStore,
    MissingHash,
    SourceRefused,
    WrongFile,
)
from commonwheel.install import Progress, link_entries
from commonwheel.installed import Installed
from commonwheel.pin import Kind, Pin
from commonwheel.plan import Plan, Request, plan_removal
from commonwheel.store import Contents, Store, read_entry

_SOURCES = frozenset({Kind.SDIST, Kind.ARCHIVE, Kind.VCS})
_BLOCK = 1 << 20
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_NOTHING = Plan((), (), (), (), (), (), ())


class Host(Protocol):
    """The installer that does what linking cannot do.

    What it cannot do either it says by :class:`HostFailed`.
    """

    @property
    def name(self) -> str:
        """What a person calls it."""

    def fetch(
        self,
        pins: Sequence[Pin],
        environment: Environment,
        folder: Path,
        progress: Progress,
    ) -> Mapping[str, Path]:
        """Get the wheels of ``pins`` into ``folder``; returns them by the pins' names."""

    def build(
        self,
        pins: Sequence[Pin],
        environment: Environment,
        folder: Path,
        progress: Progress,
    ) -> Mapping[str, Path]:
        """Make wheels of the sources of ``pins``, whose hashes it compares itself.

        For one of an index it may also get the wheel that the index has.
        """

    def install_projects(self, pins: Sequence[Pin], environment: Environment) -> None:
        """Install ``pins`` as it would do by itself, without their dependencies."""


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
    inexact: bool = False,
    require_hashes: bool = False,
    allow_sdist: bool = False,
) -> SyncPlan:
    """What it takes to make ``environment`` hold ``pins`` and no more.

    ``inexact``: others may stay.

    Never removed are pip, and commonwheel with what it requires where it is installed;
    nor are they linked: it takes them to mend an environment whose store is gone. Writes
    nothing, and starts nothing.

    With a hash, an entry is chosen by it. ``NAME==VERSION`` without hashes says no more
    than that: of the entries of that version the one with the best tags is taken, of
    those with the same tags the last by name.

    :raises MissingHash: ``require_hashes``, and nothing vouches for one of them
    :raises SourceRefused: one has to be built, and not ``allow_sdist``
    :raises IncompatibleWheel: a wheel is for another Python or platform
    :raises InvalidEnvironment: a distribution that has to go has no RECORD
    :raises InvalidStore: an entry cannot be read
    :raises OSError: the environment or a wheel on this machine cannot be read
    """
    present = installed.read(environment)
    unlinked = installed.needed_to_mend(environment, {*present, *(p.name for p in pins)})
    ranks = {tag: rank for rank, tag in enumerate(environment.tags or ())}
    planner = _Planner(environment, ranks, store, store.contents(), allow_sdist)
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
    removed = () if inexact else sorted(present.keys() - wanted - unlinked)
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
    )


def carry_out(
    plan: SyncPlan,
    environment: Environment,
    store: Store,
    host: Host,
    progress: Progress = lambda task, done, total: None,
) -> Plan:
    """Do what ``plan`` says; returns what was linked and removed.

    Whatever fails before the links are made leaves ``environment`` as it was; wheels that
    were fetched stay in ``store``. The host's own installations come last.

    :raises HostFailed: something cannot be fetched, built or installed
    :raises WrongFile: a file is not the one that the lock names
    :raises InvalidWheel: a file is not a wheel
    :raises LinkConflict: two distributions cannot be in one environment
    :raises InvalidStore: the store cannot be written or read
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    done = _NOTHING
    compiler = Compiler(environment.python, environment.cache_tag)
    for number, (_, entry) in enumerate(plan.linked):
        progress("compiling", number, len(plan.linked))
        store.ensure_bytecode(entry, compiler)
    with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
        wheels = _obtain(plan, environment, host, Path(folder), progress)
        pins = (*plan.fetched, *plan.built)
        lacking = list(_add(pins, wheels, plan, store, compiler, progress))
    requests = [_request(pin, entry) for pin, entry in (*plan.linked, *lacking)]
    if requests or plan.removed:
        done = link_entries(
            requests, environment, store, removed=plan.removed, progress=progress
        )
    if plan.projects:
        _hand_over(plan.projects, environment, host)
    return done


@dataclass(frozen=True)
class _Planner:
    """Finds out how each distribution gets into an environment."""

    environment: Environment
    ranks: Mapping[str, int]
    """Of the environment's tags, the best one first."""
    store: Store
    contents: Contents
    allow_sdist: bool

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
        if pin.kind in _SOURCES and not self.allow_sdist:
            source = pin.filename or location.public(pin.location or "")
            raise SourceRefused(str(pin), source)
        if is_project or not linkable:
            return _Way.PROJECT
        return _Way.BUILD if pin.kind in _SOURCES else _Way.FETCH

    def _is_there(
        self, pin: Pin, there: Installed, linkable: bool, is_project: bool
    ) -> bool:
        if not linkable:
            return pin.allows(there.version)
        return _is_editable(pin, there) if is_project else self._is_linked(pin, there)

    def _is_linked(self, pin: Pin, there: Installed) -> bool:
        """Whether a distribution is linked to the wheel that ``pin`` names."""
        link = there.link
        if link is None or not pin.allows(link.version):
            return False
        if not direct_url.agrees(pin, there.direct_url):
            return False
        try:
            if read_entry(link.entry) is None:
                return False
        except InvalidStore:
            return False
        digests = _sha256s(pin)
        if pin.kind in (Kind.WHEEL, Kind.INDEX) and link.sha256 in digests:
            return True
        if pin.kind is Kind.INDEX and not pin.hashes:
            return True
        if pin.direct and (pin.kind is not Kind.WHEEL or not pin.hashes):
            return True  # direct_url.json says which commit or archive it was
        remembered = self._remembered(pin)
        return remembered is not None and remembered.description.sha256 == link.sha256

    def _find(self, pin: Pin) -> Entry | None:
        """The entry that ``pin`` names, if the store has it."""
        found: Iterable[Entry] = ()
        if pin.kind in (Kind.WHEEL, Kind.INDEX) and pin.hashes:
            found = self.contents.of_digests(pin.name, _sha256s(pin))
        elif pin.kind is Kind.INDEX:
            found = self.contents.of_name(pin.name)
        # a hash of another version is a mistake in the lock: pip, asked for it, says so
        allowed = (each for each in found if pin.allows(each.description.version))
        return self._best(allowed) or self._remembered(pin)

    def _remembered(self, pin: Pin) -> Entry | None:
        for origin in _origins(pin, self.environment.cache_tag):
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


def _with_hash(pin: Pin) -> Pin:
    """``pin`` with the hash of its wheel, if that is on this machine and has none."""
    if pin.kind is Kind.WHEEL and pin.path is not None and not pin.hashes:
        digest = _digests(pin.path, {"sha256"})
        return replace(pin, hashes=frozenset(digest))
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


def _request(pin: Pin, entry: Entry) -> Request:
    if not pin.direct:
        return Request(entry)
    hashes: Collection[tuple[str, str]] = pin.hashes
    if pin.kind is Kind.WHEEL:
        hashes = {("sha256", entry.description.sha256)}
    return Request(entry, direct_url=json.dumps(direct_url.describe(pin, hashes)))


def _obtain(
    plan: SyncPlan,
    environment: Environment,
    host: Host,
    folder: Path,
    progress: Progress,
) -> dict[str, Path]:
    """Wheel files of what the store lacks, by name; nothing vouches for them yet."""
    here = {pin.name: pin.path for pin in plan.fetched if pin.path is not None}
    elsewhere = [pin for pin in plan.fetched if pin.path is None]
    built = list(plan.built)
    if plan.allow_sdist:
        # whether an index has wheels of them is found out by asking for either
        built += [pin for pin in elsewhere if pin.kind is Kind.INDEX]
        elsewhere = [pin for pin in elsewhere if pin.kind is not Kind.INDEX]
    found = dict(here)
    if elsewhere:
        (folder / "fetched").mkdir()
        found |= host.fetch(elsewhere, environment, folder / "fetched", progress)
    if built:
        (folder / "built").mkdir()
        found |= host.build(built, environment, folder / "built", progress)
    return found


def _add(
    pins: Sequence[Pin],
    wheels: Mapping[str, Path],
    plan: SyncPlan,
    store: Store,
    compiler: Compiler,
    progress: Progress,
) -> Iterator[tuple[Pin, Entry]]:
    """The entries of wheels that are what ``pins`` name."""
    for number, pin in enumerate(pins):
        path = wheels[pin.name]
        progress("storing", number, len(pins))
        _check_name(pin, path)
        # the host has compared the hashes of what it built a wheel from
        may_be_built = pin.kind in _SOURCES or (
            plan.allow_sdist and pin.kind is Kind.INDEX
        )
        if pin.hashes and not may_be_built and _is_other_file(pin, path):
            raise _wrong_digest(pin, path)
        entry = store.add(path, compiler)
        if entry.description.sha256 not in _sha256s(pin):
            for origin in _origins(pin, compiler.cache_tag):
                store.remember_origin(origin, entry)
        yield pin, entry


def _check_name(pin: Pin, path: Path) -> None:
    """:raises WrongFile: it is not even of the distribution"""
    name = wheel.name(path)
    version = path.name.split("-")[1]
    if name != pin.name or not pin.allows(version):
        raise WrongFile(str(pin), path.name, f"is a wheel of {name} {version}")


def _is_other_file(pin: Pin, path: Path) -> bool:
    """Whether a file has none of the digests that the lock names."""
    algorithms = {algorithm for algorithm, _ in pin.hashes}
    return pin.hashes.isdisjoint(_digests(path, algorithms))


def _wrong_digest(pin: Pin, path: Path) -> WrongFile:
    algorithm = min(algorithm for algorithm, _ in pin.hashes)
    ((_, found),) = _digests(path, {algorithm})
    wanted = sorted(digest for name, digest in pin.hashes if name == algorithm)
    said = wanted[0] if len(wanted) == 1 else f"one of {len(wanted)} others"
    return WrongFile(str(pin), path.name, f"has the {algorithm} {found}, not {said}")


def _digests(path: Path, algorithms: Collection[str]) -> set[tuple[str, str]]:
    hashes = {name: hashlib.new(name) for name in algorithms}
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            for each in hashes.values():
                each.update(block)
    return {(name, each.hexdigest()) for name, each in hashes.items()}


def _sha256s(pin: Pin) -> set[str]:
    return {digest for algorithm, digest in pin.hashes if algorithm == "sha256"}


def _origins(pin: Pin, cache_tag: str) -> Iterator[str]:
    """What else than a sha256 of its own says for ever which wheel ``pin`` means.

    A wheel that was built is of its source and of the Python that built it.
    """
    hashes = [f"{algorithm}:{digest}" for algorithm, digest in sorted(pin.hashes)]
    if pin.kind is Kind.VCS:
        repository = f"{pin.vcs}+{pin.location}@{pin.commit}"
        yield f"{repository}#{pin.subdirectory or ''} {cache_tag}"
    elif pin.kind is Kind.INDEX and hashes:
        # which of the files it was is not known
        yield f"{pin.name} {pin.version} {' '.join(hashes)} {cache_tag}"
    elif pin.kind in _SOURCES:
        yield from (f"{each}#{pin.subdirectory or ''} {cache_tag}" for each in hashes)
    elif pin.kind is Kind.WHEEL:
        yield from hashes


def _hand_over(pins: Sequence[Pin], environment: Environment, host: Host) -> None:
    """What the host installs by itself. The rest of the lock is in place by now."""
    outcome = "all else that the lock names is in place"
    try:
        host.install_projects(pins, environment)
    except HostFailed as error:
        error.outcome = outcome
        raise
    except KeyboardInterrupt as error:
        names = ", ".join(pin.name for pin in pins)
        task = f"install {names}"
        raise HostFailed(host.name, task, "interrupted", outcome) from error
