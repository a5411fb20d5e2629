"""Activation: what a lock names, importable in the process that asks for it.

The process is given the site-packages of a run environment
(:mod:`commonwheel.run_environment`), which another process makes if there is none: so
nothing that commonwheel needs itself is imported here, where another version of it may be
wanted. Only the standard library is.
"""

from __future__ import annotations

import importlib
import json
import os
import site
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from commonwheel import run_place
from commonwheel.lock_errors import ActivationFailed

_RUN = (
    "import sys; sys.path = [*filter(None, sys.path), sys.argv.pop(1)];"
    "from commonwheel.__main__ import main; sys.exit(main())"
)
"""Runs the command line where this package need not be installed.

What lies in the folder that somebody works in (an empty entry) is not for it.
"""
_PREFIX = "commonwheel: error: "


class AlreadyImported(UserWarning):
    """A module of another version was imported before, and stays what it is."""


@dataclass(frozen=True)
class Activation:
    """What was made importable."""

    wanted: str
    """The lock, or the names."""
    folder: Path
    """The run environment."""
    sites: tuple[Path, ...]
    """What was added to :data:`sys.path`."""
    distributions: Mapping[str, str]
    """Their versions, by normalized name."""
    already_imported: tuple[str, ...] = ()
    """What is not used by this process, and what is instead."""


@dataclass(frozen=True)
class _Distribution:
    name: str
    version: str
    modules: tuple[str, ...]
    """At the top level."""


_active: dict[Path, Activation] = {}


def activate(
    lock_or_names: str | os.PathLike[str] | Iterable[str],
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    store: str | os.PathLike[str] | None = None,
    offline: bool = True,
) -> Activation:
    """Make distributions of the store importable from now on, in this process.

    They come from a lock (``activate("pylock.toml")``), or are the newest that the store
    has of some names and of what those require (``activate(["numpy", "rich>=13"])``). A
    text is a lock if it is a path (it has a folder in it, or ends with ``.toml``,
    ``.txt`` or ``.lock``), else a name. ``extras`` and ``groups`` are the lock's; the
    ``store`` is a folder, or several as ``COMMONWHEEL_STORE`` has them.

    They are found after the standard library and before what was installed otherwise.
    What is imported already stays imported; if it is of another version, a warning
    (:class:`AlreadyImported`) names both. Scripts are not put on ``PATH``, and other
    processes that are started are not given them: that is what ``commonwheel run`` does.

    Nothing is fetched unless not ``offline``: then pip fetches what the lock names and
    the store lacks. Doing the same again does nothing.

    :raises ActivationFailed: the store lacks something, the lock is for another Python,
        or another version was activated before; says which
    """
    lock, names = _told(lock_or_names)
    wanted = lock if lock is not None else ", ".join(names)
    chosen = os.fspath(store) if store is not None else None
    options = [f"--extra={each}" for each in extras]
    options += [f"--group={each}" for each in groups]
    options += [f"--store={chosen}"] * (chosen is not None) + ["--offline"] * offline
    found = _find(lock, extras, groups, chosen) if lock is not None else None
    if found is None:
        what = [f"--lock={lock}"] if lock is not None else []
        what += [f"--with={each}" for each in names]
        found = _prepare(wanted, [*what, *options])
    folder = Path(found)
    if folder not in _active:
        _active[folder] = _enter(wanted, folder)
    return _active[folder]


def _told(given: str | os.PathLike[str] | Iterable[str]) -> tuple[str | None, list[str]]:
    """The lock, or else the names."""
    if isinstance(given, os.PathLike):
        return os.fspath(given), []
    if not isinstance(given, str):
        return None, list(given)
    is_path = os.path.dirname(given) or given.endswith((".toml", ".txt", ".lock"))
    return (given, []) if is_path else (None, [given])


def _find(
    lock: str, extras: Sequence[str], groups: Sequence[str], store: str | None
) -> str | None:
    """The run environment for a lock, if it is there."""
    try:
        with open(lock, "rb") as file:
            content = file.read()
        identity = run_place.identity(
            content,
            sys.executable,
            extras=extras,
            groups=groups,
            links=run_place.links(os.environ),
        )
    except OSError:
        return None
    return run_place.find(run_place.stores(store, os.environ), identity)


def _prepare(wanted: str, options: Sequence[str]) -> str:
    """Let another process make the run environment; returns its folder."""
    if not sys.executable:
        reason = "this process does not know its interpreter (sys.executable)"
        raise ActivationFailed(wanted, reason)
    ours = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", _RUN, ours, "run", "--prepare"]
    command += [f"--python={sys.executable}", *options]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        told = [line for line in said if line.startswith(_PREFIX)] or said
        raise ActivationFailed(wanted, told[-1].removeprefix(_PREFIX))
    return done.stdout.strip().splitlines()[-1]


def _enter(wanted: str, folder: Path) -> Activation:
    try:
        text = (folder / run_place.CONTENTS).read_text("ascii")
    except OSError as error:
        reason = f"{folder} cannot be read: {error.strerror}"
        raise ActivationFailed(wanted, reason) from error
    found = json.loads(text)
    sites = tuple(map(Path, found["sites"]))
    distributions = [
        _Distribution(each["name"], each["version"], tuple(each["modules"]))
        for each in found["distributions"]
    ]
    versions = {each.name: each.version for each in distributions}
    _refuse_another(wanted, versions)
    others = tuple(_already_imported(distributions))
    _add(sites)
    for each in others:
        warnings.warn(each, AlreadyImported, stacklevel=3)
    return Activation(wanted, folder, sites, versions, others)


def _refuse_another(wanted: str, versions: Mapping[str, str]) -> None:
    """:raises ActivationFailed: another version of a distribution is active"""
    for earlier in _active.values():
        for name, version in versions.items():
            other = earlier.distributions.get(name, version)
            if other != version:
                reason = f"{name} {other} is active already ({earlier.wanted})"
                reason += f", and {name} {version} is wanted; start another process"
                raise ActivationFailed(wanted, reason)


def _already_imported(distributions: Iterable[_Distribution]) -> Iterator[str]:
    """What was imported before and is not of the version that is being activated."""
    for each in distributions:
        for name in each.modules:
            # a namespace package has no file: it finds what is added later
            file = getattr(sys.modules.get(name), "__file__", None)
            if file is None or name in sys.stdlib_module_names:
                continue
            version = _version(each.name)
            if version != each.version:
                there = f"{each.name} {version}" if version else f"another {each.name}"
                yield (
                    f"{there} was imported before ({file}) and stays in this process,"
                    f" where {each.name} {each.version} was activated"
                )
                break


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


_LIBRARY = ("stdlib", "platstdlib")


def _add(sites: Iterable[Path]) -> None:
    """Put folders onto :data:`sys.path`, where site-packages begin.

    That is after the standard library, even if PYTHONPATH names site-packages before it.
    Their start-up files are run, as at the start of an interpreter: the runtime is one.
    """
    before = list(sys.path)
    real = [os.path.realpath(each) for each in before]
    library = {os.path.realpath(sysconfig.get_path(name)) for name in _LIBRARY}
    library |= {os.path.join(each, "lib-dynload") for each in library}
    first = max((n + 1 for n, each in enumerate(real) if each in library), default=0)
    own = {os.path.realpath(each) for each in _site_packages()}
    places = (n for n, each in enumerate(real) if each in own and n >= first)
    place = min(places, default=first or len(before))
    for each in sites:
        site.addsitedir(str(each))
    added = [each for each in sys.path if each not in before]
    kept = [each for each in sys.path if each in before]
    sys.path[:] = [*kept[:place], *added, *kept[place:]]
    importlib.invalidate_caches()


def _site_packages() -> Iterator[str]:
    """Where distributions are installed, and what was activated before."""
    yield from (sysconfig.get_path(name) for name in ("purelib", "platlib"))
    yield from site.getsitepackages()
    yield site.getusersitepackages()
    yield from (str(each) for active in _active.values() for each in active.sites)
