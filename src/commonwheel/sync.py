"""Sync: the story. What a lock names -> what is lacking -> an environment equal to it.

What a store has is linked; a :class:`Host`, the installer that commonwheel works for,
fetches and builds the rest, and installs what is not linked: projects, and what an
environment is mended with. Everything is fetched and built before anything changes, and
then one step links all and removes the rest.

Every distribution of a lock counts as asked for by name (the REQUESTED file of
:pep:`376`), as it does when pip, pip-sync or uv install from a lock.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from commonwheel import digests, direct_url, files, location, wheel
from commonwheel.apply import Applied
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.install import Progress, compiler_of, link_entries, of_entry
from commonwheel.installation import Request
from commonwheel.link_mode import LinkChoice
from commonwheel.lock_errors import HostFailed, WrongFile
from commonwheel.pin import SOURCES, Kind, Pin
from commonwheel.plan import Plan
from commonwheel.store import Store
from commonwheel.sync_plan import SyncPlan

_NOTHING = Applied(Plan((), (), (), (), (), (), (), ()), {})


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


def carry_out(
    plan: SyncPlan,
    environment: Environment,
    store: Store,
    host: Host,
    progress: Progress = lambda task, done, total: None,
) -> Applied:
    """Do what ``plan`` says; returns what was linked and removed.

    Whatever fails before the links are made leaves ``environment`` as it was; wheels that
    were fetched stay in ``store``. The host's own installations come last.

    :raises HostFailed: something cannot be fetched, built or installed
    :raises WrongFile: a file is not the one that the lock names
    :raises InvalidWheel: a file is not a wheel
    :raises LinkConflict: two distributions cannot be in one environment
    :raises LinkModeUnavailable: a link mode was chosen that does not work there
    :raises InvalidStore: the store cannot be written or read
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    done = _NOTHING
    compiler = compiler_of(environment)
    if compiler is not None:
        for number, (_, entry) in enumerate(plan.linked):
            progress("compiling", number, len(plan.linked))
            store.ensure_bytecode(entry, compiler)
    with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
        wheels = _obtain(plan, environment, host, Path(folder), progress)
        pins = (*plan.fetched, *plan.built)
        lacking = list(_add(pins, wheels, plan, environment, store, progress))
    found = (*plan.linked, *lacking)
    requests = [_request(pin, entry, plan.links) for pin, entry in found]
    if requests or plan.removed:
        done = link_entries(
            requests, environment, store, removed=plan.removed, progress=progress
        )
    if plan.projects:
        _hand_over(plan.projects, environment, host)
    return done


def _request(pin: Pin, entry: Entry, links: LinkChoice) -> Request:
    request = of_entry(entry, links)
    if not pin.direct:
        return request
    hashes: Collection[tuple[str, str]] = pin.hashes
    if pin.kind is Kind.WHEEL:
        hashes = {("sha256", entry.description.sha256)}
    return replace(request, direct_url=json.dumps(direct_url.describe(pin, hashes)))


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
    environment: Environment,
    store: Store,
    progress: Progress,
) -> Iterator[tuple[Pin, Entry]]:
    """The entries of wheels that are what ``pins`` name."""
    compiler = compiler_of(environment)
    for number, pin in enumerate(pins):
        path = wheels[pin.name]
        progress("storing", number, len(pins))
        _check_name(pin, path)
        # the host has compared the hashes of what it built a wheel from
        may_be_built = pin.kind in SOURCES or (
            plan.allow_sdist and pin.kind is Kind.INDEX
        )
        if pin.hashes and not may_be_built and _is_other_file(pin, path):
            raise _wrong_digest(pin, path)
        entry = store.add(path, compiler, url=location.of_wheel(pin.location))
        if entry.description.sha256 not in pin.sha256s:
            for origin in pin.origins(environment.cache_tag):
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
    with files.open_to_read(path) as file:
        found = digests.of(file, {algorithm for algorithm, _ in pin.hashes})
    return pin.hashes.isdisjoint(found.items())


def _wrong_digest(pin: Pin, path: Path) -> WrongFile:
    algorithm = min(algorithm for algorithm, _ in pin.hashes)
    with files.open_to_read(path) as file:
        found = digests.of(file, {algorithm})[algorithm]
    wanted = sorted(digest for name, digest in pin.hashes if name == algorithm)
    said = wanted[0] if len(wanted) == 1 else f"one of {len(wanted)} others"
    return WrongFile(str(pin), path.name, f"has the {algorithm} {found}, not {said}")


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
