"""Linkage: whether an environment holds what its link manifests and RECORDs say.

The environment's own side of it: links, scripts, real files, metadata, the runtime.
Whether the entries that the links lead to are sound is said by
:mod:`commonwheel.integrity`. Changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from commonwheel import integrity, manifest, record, runtime, tree, view
from commonwheel.damage import Damage, Fault, Look, Reading
from commonwheel.entry import Entry
from commonwheel.entry_folder import bytecode_digests, read_entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidStore, explain
from commonwheel.holdings import in_force, read_links, without_link
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.reading import read
from commonwheel.record import Row
from commonwheel.store import Store

_PIP_HAS_THE_OPTION = ("commonwheel_pip.pth", "_commonwheel/_commonwheel_pip.py")
"""Of commonwheel in the environment, and of one that serves it from outside."""
_VIEW = f"{manifest.VIEW}/"
_INTERPRETER = re.compile(
    rb"""#!/bin/sh\n'''exec' (?:'([^'\n]+)'|"([^"\n]+)"|(\S+)) |#!(/\S+)"""
)
"""As :func:`commonwheel.scripts.interpreter_line` names it."""


def reinstall(environment: Environment, requirement: str) -> str:
    """The command that installs a distribution again, from the index or its wheel."""
    python = shlex.quote(str(environment.python))
    requirement = shlex.quote(requirement)
    if requirement.partition("==")[0] == "pip":
        return f"commonwheel enable {python}"
    if any((s / n).exists() for s in environment.sites for n in _PIP_HAS_THE_OPTION):
        option = "--use-shared-store --force-reinstall --no-deps"
        return f"{python} -m pip install {option} {requirement}"
    return f"commonwheel install --python {python} and the wheel of {requirement}"


def inspect_entry(root: Path) -> list[Damage]:
    """Everything that is wrong with an entry while nobody adds bytecode to it."""
    description = integrity.describe(root)
    if description is None:
        return integrity.inspect(root)
    try:
        store = Store(root.parent.parent)
    except InvalidStore:
        return integrity.inspect(root)  # nobody adds anything to it
    with store.undisturbed(description.sha256):
        return integrity.inspect(root)


def look(environment: Environment, quick: bool = False) -> Look:
    """Walk over what an environment holds of linked distributions.

    ``quick``: a real file is to be read only if its time stamps say that it was written
    to after it was installed, as for :func:`commonwheel.integrity.look`.
    """
    damages: list[Damage] = []
    readings: list[Reading] = []
    files = 0
    for site in environment.sites:
        links, damaged = read_links(site)
        damages += damaged
        shown: set[str] = set()
        for link in links:
            found = _Distribution(environment, site, link, quick)
            found.look()
            damages += found.damages
            readings += found.readings
            shown |= found.shown
            files += found.files
        for _, row in without_link(site):
            name = manifest.name_of(row.path)
            damages.append(Damage(site, row.path, Fault.MISSING, "", name))
        if (site / manifest.VIEW).is_dir() or any(link.is_linked for link in links):
            damages += _of_runtime(environment, site)
        if not damaged:  # whose their links are is not known
            damages += _strays(site, shown)
    size = sum(each.size for each in readings)
    return Look(tuple(damages), tuple(readings), files, size)


def _of_runtime(environment: Environment, site: Path) -> Iterator[Damage]:
    version, keeper = environment.version, f"{_VIEW}{view.KEEPER}"
    for name in (*runtime.files(version, site), keeper):
        try:
            found = (site / name).read_bytes()
        except FileNotFoundError:
            yield Damage(site, name, Fault.MISSING)
        except OSError as error:
            yield Damage(site, name, Fault.UNREADABLE, explain(error))
        else:
            is_keeper = name == keeper and not found
            if not (is_keeper or runtime.is_right(name, found, version, site)):
                detail = "or of another commonwheel, or place"
                yield Damage(site, name, Fault.CHANGED, detail)


def _strays(site: Path, shown: set[str]) -> Iterator[Damage]:
    for current, folders, names in os.walk(site / manifest.VIEW):
        for name in sorted((*folders, *names)):
            path = os.path.join(current, name)
            relative = os.path.relpath(path, site).replace(os.sep, "/")
            if os.path.islink(path) and relative not in shown:
                detail = "a link of no distribution"
                yield Damage(site, relative, Fault.ADDED, detail)


def is_real(link: Manifest, path: str) -> bool:
    """Whether a row in RECORD of a distribution is of a file in the environment.

    What is not is in the store only, and shown by the view.
    """
    if not link.is_linked or os.path.isabs(path):
        return True
    ours = path.startswith((f"{link.metadata}/", f"{manifest.FOLDER}/", "../"))
    return ours or tree.must_be_real(path)


class _Distribution:
    """A walk over what an environment holds of one linked distribution."""

    def __init__(
        self, environment: Environment, site: Path, link: Manifest, quick: bool
    ) -> None:
        self.damages: list[Damage] = []
        self.readings: list[Reading] = []
        self.shown: set[str] = set()
        self.files = 0
        self._environment = environment
        self._site = site
        self._link = link
        self._quick = quick
        self._since = 0
        self._entry = self._read_entry()

    def look(self) -> None:
        link = self._link
        wrong = in_force(self._site, link)
        if wrong is None:
            self._add(link.path, Fault.ADDED, "left of an installation written over")
            return
        if wrong:
            path = f"{link.metadata}/RECORD"
            missing = not (self._site / path).exists()
            fault = Fault.MISSING if missing else Fault.DAMAGED
            self._add(path, fault, "" if missing else wrong)
            self._forgive()
            return
        self._since = os.stat(self._site / link.path).st_ctime_ns
        text = (self._site / link.metadata / "RECORD").read_text("utf-8")
        rows = list(record.parse(text))
        lost = self._of_wheel() - set(rows)
        if lost:
            detail = f"{min(lost).path} is not as the wheel has it"
            self._add(f"{link.metadata}/RECORD", Fault.CHANGED, detail)
        for row in rows:
            self._look_at(row)

    def _read_entry(self) -> Entry | None:
        try:
            return read_entry(self._link.entry)
        except InvalidStore:
            return None  # what is wrong with it is found by looking at the entry

    def _of_wheel(self) -> set[Row]:
        """Rows that the environment's RECORD has to have."""
        if self._entry is None:
            return set()
        description = self._entry.description
        added = {f"{description.dist_info}/{name}" for name in description.added}
        try:
            rows = set(record.parse(self._entry.record))
        except ValueError:
            return set()  # the same
        if self._link.is_linked:
            return rows
        return {row for row in rows if row.path not in added}

    def _forgive(self) -> None:
        """Without RECORD every link into the entry may be this distribution's."""
        begin = f"{self._link.entry}{os.sep}"
        for current, folders, names in os.walk(self._site / manifest.VIEW):
            for name in (*folders, *names):
                path = os.path.join(current, name)
                if os.path.islink(path) and os.readlink(path).startswith(begin):
                    relative = os.path.relpath(path, self._site)
                    self.shown.add(relative.replace(os.sep, "/"))

    def _add(self, path: str, fault: Fault, detail: str = "") -> None:
        self.damages.append(self._damage(path, fault, detail))

    def _damage(self, path: str, fault: Fault, detail: str = "") -> Damage:
        return Damage(self._site, path, fault, detail, self._link.name)

    def _look_at(self, row: Row) -> None:
        if row.path.startswith(_VIEW):
            self.shown.add(row.path)
            self._look_at_view(row.path, row.path.removeprefix(_VIEW))
        elif is_real(self._link, row.path):
            self._look_at_file(row)

    def _look_at_view(self, row: str, shown: str) -> None:
        path = self._site / row
        name = os.path.basename(shown)
        if tree.is_bytecode(shown):
            self._look_at_bytecode(row, shown)
            return
        self.files += 1
        if not os.path.lexists(path):
            self._add(row, Fault.MISSING)
        elif not view.is_marker(name):
            waiting = view.hidden_by(shown)
            inner = waiting[0] if waiting is not None else shown
            target = f"{self._link.entry}/tree/{inner}"
            if not path.is_symlink():
                self._add(row, Fault.CHANGED, "no link")
            elif os.readlink(path) != target:
                self._add(row, Fault.CHANGED, f"it leads to {os.readlink(path)}")

    def _look_at_bytecode(self, row: str, shown: str) -> None:
        """Bytecode beside a link is ours, which nobody compares with its source.

        Python makes its own in its place, which it does compare (:pep:`552`).
        """
        try:
            content = (self._site / row).read_bytes()
        except OSError:
            return  # uv removes it; it is made again by whoever imports
        wanted = self._bytecode.get(shown)
        unchecked = content[4:8] != bytes(4)
        if unchecked and wanted not in (None, hashlib.sha256(content).hexdigest()):
            self._add(row, Fault.CHANGED)

    @cached_property
    def _bytecode(self) -> dict[str, str]:
        """The hashes of the entry's bytecode, by path in its tree."""
        try:
            return dict(bytecode_digests(self._entry)) if self._entry else {}
        except OSError:
            return {}  # found by looking at the entry

    def _look_at_file(self, row: Row) -> None:
        path = self._site / row.path
        try:
            status = path.lstat()
        except OSError as error:
            if not row.path.endswith(".pyc"):  # whoever imports makes it again
                missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
                fault = Fault.MISSING if missing else Fault.UNREADABLE
                self._add(row.path, fault, "" if missing else explain(error))
            return
        self.files += 1
        if not stat.S_ISREG(status.st_mode):
            if row.hash:
                self._add(row.path, Fault.CHANGED, "no file any more")
            return
        if self._is_script(row) and self._is_of_another_place(row):
            return
        if not row.hash:
            return
        fault = Fault.CHANGED if self._is_generated(row) else Fault.EDITED
        if self._is_of_store(status):
            fault = Fault.CHANGED
        if row.size and row.size != str(status.st_size):
            self._add(row.path, fault, f"{status.st_size} bytes, not {row.size}")
        elif not (self._quick and self._is_as_installed(row, status)):
            damage = self._damage(row.path, fault)
            self.readings.append(Reading(str(path), row.hash, status.st_size, damage))

    def _is_generated(self, row: Row) -> bool:
        """Whether nobody would edit the file."""
        return row.path.startswith(f"{self._link.metadata}/") or self._is_script(row)

    def _is_of_store(self, status: os.stat_result) -> bool:
        """Whether a file is the store's own, by a hard link; or was, before a repair."""
        return self._link.mode is LinkMode.HARDLINK and status.st_mode & 0o222 == 0

    def _is_as_installed(self, row: Row, status: os.stat_result) -> bool:
        if self._is_generated(row):
            return False  # they are few
        if status.st_mtime_ns > self._since:
            return False
        return status.st_ctime_ns <= self._since or status.st_nlink > 1

    def _is_script(self, row: Row) -> bool:
        folder = os.path.dirname(os.path.normpath(self._site / row.path))
        return folder == os.path.normpath(self._environment.scheme.scripts)

    def _is_of_another_place(self, row: Row) -> bool:
        """Whether a script that was made for the environment is run by another Python.

        So it is after the environment was moved.
        """
        if self._entry is not None:
            stored = self._entry.description.script_files
            if any(row.hash == each.hash for each in stored):
                return False  # as the wheel has it
        try:
            with open(self._site / row.path, "rb") as file:
                match = _INTERPRETER.match(file.read(4096))
        except OSError as error:
            self._add(row.path, Fault.UNREADABLE, explain(error))
            return True
        named = os.fsdecode(match[match.lastindex or 0]) if match is not None else ""
        if not named or named == "/usr/bin/env" or _is_beside(named, self._environment):
            return False
        self._add(row.path, Fault.CHANGED, f"it is run by {named}")
        return True


def _is_beside(named: str, environment: Environment) -> bool:
    """Whether an interpreter is one of the environment's."""
    folder = os.path.realpath(environment.python.parent)
    return os.path.exists(named) and os.path.realpath(os.path.dirname(named)) == folder


def by_distribution(damages: Iterable[Damage]) -> dict[str, list[Damage]]:
    """Damages of an environment by the distribution they are of; empty: of none."""
    found: dict[str, list[Damage]] = {}
    for each in damages:
        found.setdefault(each.distribution, []).append(each)
    return found


def inspect(environment: Environment) -> list[Damage]:
    """Everything that is wrong with the environment's own side; reads all of it."""
    found = look(environment)
    return [*found.damages, *read(found.readings)]
