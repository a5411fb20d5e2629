"""Doctor: what is wrong with an environment, and how to mend it. Changes nothing."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from commonwheel import holdings, linkage, manifest, record, runtime
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidStore
from commonwheel.manifest import Manifest
from commonwheel.registry import stores_of
from commonwheel.store import Store

_HIDDEN = getattr(stat, "UF_HIDDEN", 0)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    problem: str
    """What, and with which file or distribution."""
    mend: str
    """The command or action that mends it."""

    def __str__(self) -> str:
        return f"{self.problem}; to mend it: {self.mend}"


def examine(environment: Environment) -> list[Finding]:
    """Everything that is wrong with the links of ``environment``, most basic first."""
    return [
        finding for site in environment.sites for finding in _examine(site, environment)
    ]


def _quoted(environment: Environment) -> str:
    """Its folder, or else its interpreter, as it is typed into a shell."""
    folder = environment.scheme.data
    known = folder if (folder / "pyvenv.cfg").is_file() else environment.python
    return shlex.quote(str(known))


def _examine(site: Path, environment: Environment) -> Iterator[Finding]:
    if not (site / manifest.FOLDER).is_dir():
        return  # nothing has been linked here
    mend = f"commonwheel repair {_quoted(environment)}"
    if any(site.glob(f"{manifest.ASIDE}*")):
        reason = f"a command that changed {site} was killed, or is still at it"
        yield Finding(reason, mend)
    for path in sorted(site.glob(f"{manifest.FOLDER}/rescued-*")):
        reason = f"{path} is what a command had replaced that was killed"
        yield Finding(reason, f"{mend}, and remove that folder")
    yield from _check_listed(site, environment)
    if (site / manifest.VIEW).is_dir():
        yield from _check_runtime(site, environment, mend)
        yield from _check_start(site, environment, mend)
    yield from _check_host(site, environment)
    found, damaged = _read_manifests(site, mend)
    yield from damaged
    for link in found:
        if holdings.uses_entry(link):
            yield from _check_entry(link, mend)
        yield from _check_metadata(site, link, mend)
    yield from _check_view(site, [link for link in found if link.is_linked], mend)
    if site == environment.sites[0] and not damaged:
        yield from _check_registration(environment)


def _check_runtime(site: Path, environment: Environment, mend: str) -> Iterator[Finding]:
    version = environment.version
    for name in runtime.files(version, site):
        path = site / name
        try:
            present = path.read_bytes()
        except FileNotFoundError:
            yield Finding(f"{path} is missing: linked packages may not import", mend)
        except OSError as error:
            readable = f"make it readable, or: {mend}"
            yield Finding(f"{path} is not readable ({error.strerror})", readable)
        else:
            if not runtime.is_right(name, present, version, site):
                yield Finding(f"{path} is changed or of another commonwheel", mend)


def _check_start(site: Path, environment: Environment, mend: str) -> Iterator[Finding]:
    path = site / runtime.START_UP
    try:
        flags = getattr(path.stat(), "st_flags", 0)
    except OSError:
        return  # reported as missing
    if flags & _HIDDEN:
        # https://github.com/python/cpython/issues/113659
        reason = f"{path} is skipped at start-up: it is marked as hidden"
        yield Finding(reason, f"chflags nohidden {path}")
        return
    if not (site / runtime.MODULE).is_file():
        return
    # -B: looking must not leave bytecode behind
    code = "import sys; sys.exit('_commonwheel' not in sys.modules)"
    command = [str(environment.python), "-I", "-B", "-c", code]
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    if started.returncode != 0:
        reason = f"{path} is skipped at the start of {environment.python}"
        yield Finding(f"{reason}, so the runtime is not active", mend)


def _check_host(site: Path, environment: Environment) -> Iterator[Finding]:
    """Whether the commonwheel that serves the environment's pip is where it was."""
    note = site / manifest.FOLDER / "host"
    again = f"commonwheel enable {_quoted(environment)}"
    try:
        host = json.loads(note.read_bytes())
        gone = [path for path in host.values() if not os.path.exists(path)]
    except FileNotFoundError:
        return  # nothing serves it from outside
    except (OSError, ValueError, AttributeError, TypeError) as error:
        yield Finding(f"{note} is damaged ({error})", again)
        return
    if gone:
        yield Finding(
            f"the commonwheel that served its pip is gone from {gone[0]}", again
        )


def _read_manifests(site: Path, mend: str) -> tuple[list[Manifest], list[Finding]]:
    found: list[Manifest] = []
    damaged: list[Finding] = []
    folder = site / manifest.LINKS
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if not name.endswith(manifest.SUFFIX):
            continue
        try:
            found.append(manifest.parse((folder / name).read_text("utf-8")))
        except (OSError, ValueError) as error:
            damaged.append(Finding(f"{folder / name} is damaged ({error})", mend))
    return found, damaged


def _check_entry(link: Manifest, mend: str) -> Iterator[Finding]:
    entry = f"{link.name} {link.version}: its store entry {link.entry}"
    try:
        os.listdir(link.entry / "tree")
        found = read_entry(link.entry)
    except (FileNotFoundError, NotADirectoryError):
        yield Finding(f"{entry} is missing", mend)
        return
    except OSError as error:
        problem = f"{entry} cannot be read ({error.strerror})"
        yield Finding(
            problem, f"give this user read access to {link.entry.parent.parent}"
        )
        return
    except InvalidStore as error:
        yield Finding(f"{entry} is damaged ({error})", mend)
        return
    changed = _first_changed(found) if found is not None else "entry.json"
    if changed is not None:
        problem = f"{entry} is damaged ({changed} is missing or of another size)"
        yield Finding(problem, mend)


def _first_changed(entry: Entry) -> str | None:
    """A file of the tree whose size is not the one in RECORD; hashing would take long.

    Entries are read-only, but the superuser can write through a link all the same.
    """
    metadata = f"{entry.description.dist_info}/"
    for row in record.parse(entry.record):
        if not row.path.startswith(metadata):
            try:
                if os.stat(entry.tree / row.path).st_size != int(row.size):
                    return row.path
            except OSError:
                return row.path
    return None


def _check_metadata(site: Path, link: Manifest, mend: str) -> Iterator[Finding]:
    path = site / link.metadata / "RECORD"
    try:
        listed = set(record.paths(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError):
        problem = f"{link.name} {link.version} is linked but not listed as installed"
        yield Finding(f"{problem} (no {path})", mend)
        return
    if link.path not in listed:
        problem = f"{site / link.path} is left over from an installation written over"
        yield Finding(problem, mend)
        return
    for row in sorted(listed):
        there = os.path.normpath(site / row)
        if row.endswith(".pyc") or not linkage.is_real(link, row):
            continue  # bytecode is made again by whoever imports
        if not os.path.lexists(there):
            yield Finding(f"{link.name} {link.version}: {there} is missing", mend)
            return
        is_open = os.lstat(there).st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if is_open and _is_of_store(there, link, row):
            reason = "is a file of the store's that others can write to"
            yield Finding(f"{link.name} {link.version}: {there} {reason}", mend)
            return


def _is_of_store(path: str, link: Manifest, row: str) -> bool:
    """Whether a file is a hard link to one in the store."""
    folder, _, name = row.partition("/")
    stored = link.entry / "tree" / row
    if folder == link.metadata:
        stored = link.entry / "dist-info" / name
    try:
        return os.path.samefile(path, stored)
    except OSError:
        return False  # there is none, or it is hidden from who looks


def _check_listed(site: Path, environment: Environment) -> Iterator[Finding]:
    for metadata, row in holdings.without_link(site):
        name = manifest.name_of(row.path)
        _, _, version = metadata.stem.rpartition("-")
        reason = f"{name} {version} is listed as installed, and not linked"
        yield Finding(reason, linkage.reinstall(environment, f"{name}=={version}"))


def _check_view(site: Path, found: list[Manifest], mend: str) -> Iterator[Finding]:
    entries = tuple(f"{link.entry}{os.sep}" for link in found)
    for current, folders, names in os.walk(site / manifest.VIEW):
        for name in sorted((*folders, *names)):
            path = os.path.join(current, name)
            if os.path.islink(path) and not os.readlink(path).startswith(entries):
                yield Finding(f"{path} belongs to no linked distribution", mend)


def _check_registration(environment: Environment) -> Iterator[Finding]:
    """Whether the stores know of the environment, so that they keep its entries.

    One that cannot be written cannot be told, nor cleared out.
    """
    for folder in stores_of(environment):
        if os.access(folder, os.W_OK) and (folder / "format").is_file():
            try:
                store = Store(folder)
                known = not store.can_be_written or store.registry.knows(environment)
            except InvalidStore:
                continue  # its entries cannot be read either, which is said
            if not known:
                reason = f"the store {folder} does not know of {environment}"
                mend = f"commonwheel status {_quoted(environment)}"
                yield Finding(f"{reason}, and may remove what it links to", mend)
