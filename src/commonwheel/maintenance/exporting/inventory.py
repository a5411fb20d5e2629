"""Inventory: what is found in an environment, and how it will be in the copy."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from commonwheel import (
    bytecode,
    installation,
    installed,
    manifest,
    record,
    relocation,
    runtime,
    scripts,
    tree,
)
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidEnvironment
from commonwheel.export_errors import NotSelfContained
from commonwheel.installation import Request
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.exporting.plan import ExportedFile
from commonwheel.relocation import Relocation

_INTERPRETER = re.compile(r"(python|pypy)[\d.]*t?(-c)?")
"""Names of an interpreter in the folder of scripts."""
_NOT_WORTH_KEEPING = frozenset({".gitignore", ".lock", "CACHEDIR.TAG"})
"""What tools say so with of an environment that they make; of a copy it is not true."""
_WAY_OUT = "Install what is needed into it as wheels, or say --allow-outside"


class Inventory:
    """What is found in an environment, to be copied."""

    def __init__(
        self, environment: Environment, prefix: Path | None, python: Path | None
    ) -> None:
        self.root = environment.scheme.data
        configuration = self.root / relocation.CONFIGURATION
        if not configuration.is_file():
            reason = "it is no virtual environment; use --target or --prefix of install"
            raise InvalidEnvironment(self.root, reason)
        self.environment = environment
        self.folders: list[str] = []
        self.files: dict[str, ExportedFile] = {}
        self.links: dict[str, str] = {}
        self.remarks: list[str] = []
        self._real_root = os.path.realpath(self.root)
        self._python = python
        self._sites = {self._relative(site): site for site in environment.sites}
        self._bin = self._relative(environment.scheme.scripts)
        self._relocation = Relocation(
            {self.root / self._bin, Path(self._real_root, self._bin)}, self._bin, prefix
        )
        self._runtime = {
            f"{site}/{name}"
            for site in self._sites
            for name in (
                *(runtime.MODULE, runtime.START_UP, runtime.START_UP_ENTRY),
                manifest.FOLDER,
            )
        }
        self._outside: list[str] = []
        self._had_bytecode: set[str] = set()
        self._generated: set[str] = set()
        """Metadata that only a linked distribution needs."""

    def _relative(self, path: Path) -> str:
        found = os.path.relpath(os.path.realpath(path), self._real_root)
        if found.startswith(os.pardir):
            reason = f"it has a folder outside, {path}"
            raise InvalidEnvironment(self.root, reason)
        return found.replace(os.sep, "/")

    def add_environment(self) -> None:
        """Everything that lies in it, without what is commonwheel's, and bytecode."""
        for current, folders, names in os.walk(self._real_root):
            below = os.path.relpath(current, self._real_root).replace(os.sep, "/")
            prefix = "" if below == "." else f"{below}/"
            entered = []
            for name in sorted(folders):
                path = f"{prefix}{name}"
                if os.path.islink(os.path.join(current, name)):
                    self._add_link(path)
                elif name == "__pycache__":
                    self._note_bytecode(prefix, os.path.join(current, name))
                elif path not in self._runtime:
                    self.folders.append(path)
                    entered.append(name)
            folders[:] = entered
            for name in sorted(names):
                path = f"{prefix}{name}"
                if path not in self._runtime and path not in _NOT_WORTH_KEEPING:
                    self._add(path)

    def _note_bytecode(self, prefix: str, folder: str) -> None:
        ending = f".{self.environment.cache_tag}.pyc"
        for name in os.listdir(folder):
            if name.endswith(ending):
                self._had_bytecode.add(f"{prefix}{name.removesuffix(ending)}.py")

    def _add(self, path: str) -> None:
        source = Path(self._real_root, path)
        status = source.lstat()
        folder, _, name = path.rpartition("/")
        if stat.S_ISLNK(status.st_mode):
            self._add_link(path)
        elif not stat.S_ISREG(status.st_mode):
            self._outside.append(f"{source} is neither a file, a folder nor a link")
        elif path == relocation.CONFIGURATION:
            self._add_configuration(source)
        elif folder == self._bin and self._python and _INTERPRETER.fullmatch(name):
            self.links[path] = str(self._python)  # there was a copy of another one
        elif folder == self._bin and relocation.activates(name):
            if name == "activate":
                for other, content in self._relocation.activation().items():
                    self.files[f"{folder}/{other}"] = ExportedFile(content=content)
        else:
            executable = bool(status.st_mode & stat.S_IXUSR)
            self.files[path] = self._adapted(path, source, executable)

    def _adapted(self, path: str, source: Path, executable: bool) -> ExportedFile:
        """A file as it is, or with what says where it is replaced."""
        if path.startswith(tuple(f"{site}/" for site in self._sites)):
            return ExportedFile(source)
        content = source.read_bytes()
        adapted = self._relocation.script(content) if executable else content
        if any(os.fsencode(each) in adapted for each in (self.root, self._real_root)):
            self.remarks.append(f"{path} names {self.root}, where the copy is not")
        if adapted == content:
            return ExportedFile(source)
        return ExportedFile(content=adapted, executable=True)

    def _add_configuration(self, source: Path) -> None:
        text = source.read_text("utf-8")
        if relocation.has_system_packages(text):
            self._outside.append("it uses the packages of the base interpreter")
        content = relocation.configuration(text, self._python).encode("utf-8")
        self.files[relocation.CONFIGURATION] = ExportedFile(content=content)

    def _add_link(self, path: str) -> None:
        """A symbolic link; one in the environment leads to the same place in the copy."""
        full = os.path.join(self._real_root, path)
        target = os.readlink(full)
        place = os.path.realpath(os.path.dirname(full))
        reached = os.path.normpath(os.path.join(place, target))
        for root in (self._real_root, str(self.root)):
            if reached == root or reached.startswith(os.path.join(root, "")):
                inside = os.path.join(self._real_root, os.path.relpath(reached, root))
                self.links[path] = os.path.relpath(inside, place)
                return
        folder, _, name = path.rpartition("/")
        if folder == self._bin and _INTERPRETER.fullmatch(name):
            self.links[path] = str(self._python or reached)
        else:
            self.links[path] = target
            self._outside.append(f"{path} is a link to {target}")

    def add_linked(self, with_bytecode: bool) -> None:
        """The files of the distributions that it has as links."""
        missing: list[str] = []
        owners: dict[str, Entry] = {}
        for below, site in self._sites.items():
            for link in manifest.read_linked(site).values():
                entry = read_entry(link.entry)
                if entry is None:
                    entry_said = f"its store entry {link.entry} is missing"
                    missing.append(f"{link.name} {link.version}: {entry_said}")
                    continue
                for path, file in self._of_entry(entry, below, site, with_bytecode):
                    source = file.compiled_from
                    if source and owners.get(source) is not entry:
                        continue  # the source is another's, and so is its bytecode
                    if source or self._comes_first(path, entry, below, site, owners):
                        owners[path] = entry
                        self.files[path] = file
        if missing:
            way_out = f"`commonwheel repair {self.root}` puts it back"
            raise NotSelfContained(self.root, tuple(missing), way_out)

    def _of_entry(
        self, entry: Entry, below: str, site: Path, with_bytecode: bool
    ) -> Iterator[tuple[str, ExportedFile]]:
        """The files of its tree that are not in the environment as real ones."""
        for name in entry.description.added:
            path = f"{below}/{entry.description.dist_info}/{name}"
            self._generated.add(path)
            self.files.pop(path, None)
        request = Request(entry, mode=LinkMode.COPY, bytecode=with_bytecode)
        planned = installation.plan_real(
            request, self.environment, site, scripts.TEMPLATE
        )
        for file in planned.files:
            if file.source is None or entry.tree not in file.source.parents:
                continue  # a script, a header or data: these are real files already
            path = f"{below}/{file.path.relative_to(site).as_posix()}"
            compiled_from = ""
            if file.compiled_from is not None:
                name = file.compiled_from.relative_to(site).as_posix()
                compiled_from = f"{below}/{name}"
            yield (
                path,
                ExportedFile(
                    file.source, shared=file.shared, compiled_from=compiled_from
                ),
            )

    def _comes_first(
        self, path: str, entry: Entry, below: str, site: Path, owners: dict[str, Entry]
    ) -> bool:
        """Whether a file is what the environment shows, of several of that name."""
        if path not in self.files:
            return True
        if path not in owners:
            return False  # a real file
        shown = site / manifest.VIEW / path.removeprefix(f"{below}/")
        return Path(os.path.realpath(shown)).is_relative_to(os.path.realpath(entry.tree))

    def refuse_what_leads_out(self) -> None:
        """:raises NotSelfContained: there is something that leads out"""
        found = list(self._outside)
        for each in installed.read(self.environment).values():
            for distribution in each:
                told = distribution.direct_url or {}
                if told.get("dir_info", {}).get("editable"):
                    place = told.get("url", "a folder")
                    found.append(f"{distribution.name} is editable, from {place}")
        for below, site in self._sites.items():
            for path in sorted(self.files):
                folder, _, name = path.rpartition("/")
                if folder == below and name.endswith((".pth", ".egg-link")):
                    found += self._lines_that_lead_out(site, site / name)
        if found:
            raise NotSelfContained(self.root, tuple(dict.fromkeys(found)), _WAY_OUT)

    def _lines_that_lead_out(self, site: Path, file: Path) -> Iterator[str]:
        """The folders that ``site`` would add to the search path (:mod:`site`)."""
        for line in file.read_text("utf-8", "surrogateescape").splitlines():
            named = line.strip()
            if not named or named.startswith(("#", "import ", "import\t")):
                continue
            place = os.path.realpath(site / named)
            if not f"{place}/".startswith(f"{self._real_root}/"):
                yield f"{file.name} names {named}"

    def add_compiled(self) -> dict[str, tuple[str, ...]]:
        """The source files that had bytecode, and get it from no store."""
        found: dict[str, tuple[str, ...]] = {}
        stored = {file.compiled_from for file in self.files.values()}
        for below in self._sites:
            sources = tuple(
                path.removeprefix(f"{below}/")
                for path in sorted(self._had_bytecode - stored)
                if path in self.files and path.startswith(f"{below}/")
            )
            if sources:
                found[below] = sources
        return found

    def amend_records(self, sources: Mapping[str, Collection[str]]) -> None:
        """RECORD files: what is in the copy, and nothing else.

        ``sources`` will be compiled, see :meth:`add_compiled`.
        """
        compiled = {
            bytecode.path_of(f"{below}/{path}", self.environment.cache_tag)
            for below, paths in sources.items()
            for path in paths
        }
        for path, file in list(self.files.items()):
            folder, _, name = path.rpartition("/")
            below = posixpath.dirname(folder)
            if (
                name == "RECORD"
                and folder.endswith(".dist-info")
                and below in self._sites
            ):
                assert file.source is not None
                try:
                    before = file.source.read_text("utf-8")
                    after = self._amended(before, below, compiled)
                except ValueError as error:
                    reason = f"{path} is damaged ({error})"
                    raise InvalidEnvironment(self.root, reason) from error
                if after != before:
                    self.files[path] = ExportedFile(content=after.encode("utf-8"))

    def _amended(self, text: str, below: str, compiled: Collection[str]) -> str:
        rows: dict[str, record.Row] = {}
        for row in record.parse(text):
            path = posixpath.normpath(posixpath.join(below, row.path))
            if row.path.startswith(f"{manifest.FOLDER}/") or path in self._generated:
                continue
            if path in self.files or not tree.is_bytecode(path):
                rows[row.path] = self._row(row, path)
            cached = bytecode.path_of(path, self.environment.cache_tag)
            if path.endswith(".py") and (cached in self.files or cached in compiled):
                name = bytecode.path_of(row.path, self.environment.cache_tag)
                rows.setdefault(name, record.Row(name))
        return record.render(sorted(rows.values()))

    def _row(self, row: record.Row, path: str) -> record.Row:
        """A row, with the hash of what was written anew."""
        file = self.files.get(path)
        if file is None or file.content is None or not row.hash:
            return row
        digest = hashlib.sha256(file.content).digest()
        hashed = record.encode_digest("sha256", digest)
        return record.Row(row.path, hashed, str(len(file.content)))
