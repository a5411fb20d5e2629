"""Journal: what a change of an environment touches, as it was before it.

It lies in the stage, the folder in which a change keeps what it is going to put
somewhere, and what it has put aside; so whoever finds a stage can go back to what was
(:mod:`commonwheel.rollback`): the process that made it, or, if that was killed, the next
one. Nothing is said of what was done.

What can be foreseen is written down before the first path is touched. Paths are relative
to the stage's site-packages, which may be moved before somebody goes back. A row is a
line, ``[KIND, PATH, VALUE]`` in JSON; there is an attribute for each kind.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from commonwheel import files, manifest

_NAME = "journal"
ASIDE = ".old"
METADATA = ".dist-info"
_Row = tuple[str, str, object]


class Journal:
    """What one change touches: what to look at, and what was there."""

    def __init__(self, stage: Path) -> None:
        """``stage``: an empty folder, or one that another process has left."""
        self.stage = stage
        self._file = stage / _NAME
        self.copying = f".{stage.name}-"
        self._site = str(stage.parent.parent)
        self.own = [os.path.join(stage.parent, "")]
        """What is ours alone: nobody else puts anything below."""
        self.was: dict[str, int] = {}
        """What was at a path: its inode, or 0 for nothing."""
        self.numbers: dict[str, int] = {}
        """Of the paths, in their order; names in the stage begin with them."""
        self._names = 0
        self.put: dict[str, str] = {}
        """What the change puts at a path, so that it is known again."""
        self.made: dict[str, None] = {}
        """Folders that were not there; in their order."""
        self.emptied: dict[str, int] = {}
        """Folders that may go with what is in them: their permission bits."""
        self.owners: dict[str, int] = {}
        """``.dist-info`` folders that something is changed in: their inodes."""
        self.stage_inode = 0

    @classmethod
    def read(cls, stage: Path) -> Journal:
        """What a process has left in ``stage``.

        A row that was cut off belongs to a step that was not taken.

        :raises OSError: it cannot be read
        """
        found = cls(stage)
        try:
            lines = found._file.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                kind, at, value = json.loads(line)
                found._take(kind, os.path.normpath(f"{found._site}/{at}"), value)
            except (ValueError, TypeError):
                break
        return found

    def begin(
        self,
        sites: Iterable[Path],
        paths: Iterable[Path],
        emptied: Iterable[Path],
        views: Iterable[Path],
    ) -> None:
        """Write down what is there, before the first path is touched.

        ``paths`` are made, replaced or removed; folders above ``emptied`` may go. Below
        ``views`` a link may be in the way of a folder: what lies behind it is not looked
        at, because the link itself is put back.

        :raises OSError: the stage cannot be written
        """
        sites = tuple(sites)
        rows: list[_Row] = [("stage", self._site, inode(str(self.stage)))]
        rows += [("site", str(site), 0) for site in sites]
        tops = tuple(os.path.join(view, "") for view in views)
        links: dict[str, bool] = {}
        for path in dict.fromkeys(map(str, paths)):
            rows += _foreseen(path, tops, links)
        owners = dict.fromkeys(os.path.dirname(path) for _, path, _ in rows)
        rows += [("owner", o, inode(o)) for o in owners if o.endswith(METADATA)]
        stops = {str(each) for site in sites for each in (site, *site.parents)}
        rows += _may_go({str(path.parent) for path in emptied}, stops)
        self._write(rows)

    def name_for(self, path: Path) -> Path:
        """A new name in the stage, for something that is to be put at ``path``."""
        self.will_touch(path)
        self._names += 1
        return self.stage / f"{self.numbers[str(path)]}.{self._names}"

    def name_aside(self, path: Path) -> Path:
        """A new name in the stage, for what is to be taken away from ``path``."""
        name = self.name_for(path)
        return name.with_name(f"{name.name}{ASIDE}")

    def move_out(self, source: Path, path: Path) -> None:
        """Move something out of the stage to its place, where nothing is.

        If that is on another filesystem, what a killed process has copied is found again.
        """
        files.move(source, path, self.copying)

    def will_touch(self, path: Path) -> None:
        """To be called before something is made at ``path``, or taken away."""
        if str(path) not in self.was:
            self._write([("path", str(path), inode(str(path)))])

    def will_make_folder(self, folder: Path) -> None:
        """To be called before a folder is made."""
        if str(folder) not in self.made:
            self._write([("made", str(folder), 0)])

    def will_remove_folder(self, folder: Path) -> None:
        """To be called before an empty folder is removed."""
        if str(folder) not in self.emptied:
            self._write([("emptied", str(folder), _mode(str(folder)))])

    def will_put(self, staged: Mapping[Path, Path]) -> None:
        """To be called before anything is put at its place: what, by the places.

        What is found there later and is something else was put there by somebody else;
        so is what else is then in a folder that is put as a whole.
        """
        rows: list[_Row] = []
        for place, each in staged.items():
            rows.append(("put", str(place), identity(str(each), place)))
            if each.is_dir() and not self.is_ours(str(place)):
                rows += _inside(str(each), str(place))
        self._write(rows)

    def keep(self) -> None:
        """Wait until the journal is on the disk.

        :raises OSError: it is not
        """
        with open(self._file, "rb") as file:
            os.fsync(file.fileno())

    def is_ours(self, path: str) -> bool:
        """Whether what is put at a path, a folder too, is nobody else's to write to."""
        return path.endswith(METADATA) or path.startswith(tuple(self.own))

    def _write(self, rows: Iterable[_Row]) -> None:
        rows = list(rows)
        text = "".join(
            f"{json.dumps((kind, self._relative(at), value))}\n"
            for kind, at, value in rows
        )
        with open(self._file, "a", encoding="ascii") as file:
            file.write(text)
        for row in rows:
            self._take(*row)

    def _relative(self, path: str) -> str:
        if path.startswith(f"{self._site}{os.sep}"):
            return path[len(self._site) + 1 :]
        return os.path.relpath(path, self._site)

    def _take(self, kind: str, at: str, value: object) -> None:
        if kind == "put":
            self.put[at] = str(value)
            return
        if not isinstance(value, int):
            raise ValueError(value)
        if kind == "path":
            self.numbers.setdefault(at, len(self.numbers))
            self.was.setdefault(at, value)
        elif kind == "site":
            self.own.append(os.path.join(at, manifest.FOLDER, ""))
        elif kind == "made":
            self.made.setdefault(at)
        elif kind == "emptied":
            self.emptied.setdefault(at, value)
        elif kind == "owner":
            self.owners[at] = value
        elif kind == "stage":
            self.stage_inode = value
        else:
            raise ValueError(kind)


def _foreseen(path: str, tops: Iterable[str], links: dict[str, bool]) -> Iterator[_Row]:
    """The row of a path, or of the link that is in its way."""
    for top in tops:
        if path.startswith(top):
            folder = top[:-1]
            for part in path[len(top) :].split(os.sep)[:-1]:
                folder = f"{folder}{os.sep}{part}"
                if folder not in links:
                    links[folder] = os.path.islink(folder)
                if links[folder]:
                    yield "path", folder, inode(folder)
                    return
    yield "path", path, inode(path)


def _inside(staged: str, place: str) -> Iterator[_Row]:
    """The rows of what a folder holds that is put as a whole."""
    yield "made", place, 0
    for current, folders, names in os.walk(staged):
        inner = place + current[len(staged) :]
        yield from (("made", os.path.join(inner, name), 0) for name in folders)
        for name in names:
            path = os.path.join(inner, name)
            yield "path", path, 0
            yield "put", path, identity(os.path.join(current, name), Path(path))


def _may_go(folders: Iterable[str], stops: Iterable[str]) -> Iterator[_Row]:
    """The rows of folders that something is removed from, and of those above them."""
    seen = set(stops)
    pending = list(folders)
    while pending:
        folder = pending.pop()
        if folder not in seen:
            seen.add(folder)
            pending.append(os.path.dirname(folder))
            if os.path.isdir(folder):
                yield "emptied", folder, _mode(folder)


def inode(path: str) -> int:
    """Of what is there; 0 if nothing is."""
    try:
        return os.lstat(path).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return 0


def identity(path: str, place: Path) -> str:
    """What is there, so that it is known again at ``place``: its inode and more.

    An inode is soon used again, and a file that was edited is somebody else's. So is
    metadata, which is known by its names and RECORD: the time of a folder says nothing,
    XFS sets it when the folder is exchanged with another. In other folders something may
    be written for other reasons (bytecode).
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISDIR(status.st_mode):
        contents = f":{_contents(path)}" if place.suffix == METADATA else ""
        return f"{status.st_ino}{contents}"
    return f"{status.st_ino}:{_state(status)}"


def _contents(metadata: str) -> str:
    names = "/".join(sorted(os.listdir(metadata)))
    digest = hashlib.sha256(os.fsencode(names)).hexdigest()[:16]
    try:
        return f"{digest}:{_state(os.lstat(os.path.join(metadata, 'RECORD')))}"
    except FileNotFoundError:
        return digest


def _state(file: os.stat_result) -> str:
    return f"{file.st_mtime_ns}:{file.st_size}"


def _mode(folder: str) -> int:
    return stat.S_IMODE(os.lstat(folder).st_mode)
