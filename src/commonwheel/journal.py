"""Journal: what a change of an environment touches, as it was before it.

It lies in the stage, the folder in which a change keeps what it is going to put
somewhere, and what it has put aside; so whoever finds a stage can go back to what was:
the process that made it, or, if that was killed, the next one. Nothing is said of what
was done: each path is looked at, and what was there is found again by its inode, at its
place or in the stage. So it can be done at any point, and twice.

What can be foreseen is written down before the first path is touched.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from commonwheel import files

_NAME = "journal"
_ASIDE = ".old"
_TICK = 10_000_000
"""Nanoseconds, at least one step of the clock of filesystems."""
_METADATA = ".dist-info"
_Row = tuple[str, str, object]
_Kept = dict[int, list[tuple[int, Path]]]


class Journal:
    """What one change touches: what to look at, and what was there."""

    def __init__(self, stage: Path) -> None:
        """``stage``: an empty folder, or one that another process has left."""
        self._stage = stage
        self._file = stage / _NAME
        self._was: dict[str, int] = {}
        """What was at a path: its inode, or 0 for nothing."""
        self._numbers: dict[str, int] = {}
        """Of the paths, in their order; names in the stage begin with them."""
        self._names = 0
        self._made: dict[str, None] = {}
        """Folders that were not there."""
        self._emptied: dict[str, int] = {}
        """Folders that may go with what is in them: their permission bits."""
        self._metadata: dict[str, dict[str, str]] = {}
        """The ``.dist-info`` folders of each site-packages, and which ones they are."""
        self._published: set[int] = set()
        """The inodes of those that the change puts there."""
        self._end = math.inf
        """When the change came to its end, if another process has made it."""

    @classmethod
    def read(cls, stage: Path) -> Journal:
        """What a process has left in ``stage``.

        A row that was cut off belongs to a step that was not taken.

        :raises OSError: it cannot be read
        """
        found = cls(stage)
        # what left the stage left it by then
        found._end = os.stat(stage).st_mtime_ns + _TICK
        try:
            lines = found._file.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                found._take(*json.loads(line))
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

        :raises OSError: the stage cannot be written, or a folder cannot be read
        """
        sites = tuple(sites)
        rows: list[_Row] = [("before", str(s), _metadata_folders(s)) for s in sites]
        tops = tuple(os.path.join(view, "") for view in views)
        links: dict[str, bool] = {}
        for path in dict.fromkeys(map(str, paths)):
            rows += _foreseen(path, tops, links)
        stops = {str(each) for site in sites for each in (site, *site.parents)}
        rows += _may_go({str(path.parent) for path in emptied}, stops)
        self._write(rows)

    def name_for(self, path: Path) -> Path:
        """A new name in the stage, for something that is to be put at ``path``."""
        self.will_touch(path)
        self._names += 1
        return self._stage / f"{self._numbers[str(path)]}.{self._names}"

    def name_aside(self, path: Path) -> Path:
        """A new name in the stage, for what is to be taken away from ``path``."""
        name = self.name_for(path)
        return name.with_name(f"{name.name}{_ASIDE}")

    def will_touch(self, path: Path) -> None:
        """To be called before something is made at ``path``, or taken away."""
        if str(path) not in self._was:
            self._write([("path", str(path), _inode(str(path)))])

    def will_make_folder(self, folder: Path) -> None:
        """To be called before a folder is made."""
        if str(folder) not in self._made:
            self._write([("made", str(folder), 0)])

    def will_remove_folder(self, folder: Path) -> None:
        """To be called before an empty folder is removed."""
        if str(folder) not in self._emptied:
            self._write([("emptied", str(folder), _mode(str(folder)))])

    def will_publish(self, folders: Iterable[Path]) -> None:
        """To be called before metadata is put at its place, of which this is the stage's.

        Other metadata that was not there before was put there by somebody else, since.
        """
        self._write([("published", each.name, _inode(str(each))) for each in folders])

    def keep(self) -> None:
        """Wait until the journal is on the disk.

        :raises OSError: it is not
        """
        with open(self._file, "rb") as file:
            os.fsync(file.fileno())

    def is_of_now(self) -> bool:
        """Whether nobody else has installed or removed anything since.

        Metadata that is there was there before, or is of this change; and what was
        there before is there, or in the stage.

        :raises OSError: a folder cannot be read
        """
        with os.scandir(self._stage) as found:
            aside = {each.inode() for each in found}
        amended = {os.path.dirname(path) for path in self._was}
        for site, before in self._metadata.items():
            now = _metadata_folders(Path(site))
            for name in before.keys() | now.keys():
                is_amended = os.path.join(site, name) in amended
                if name in before and _is_same(before[name], now.get(name), is_amended):
                    continue
                if name in now and _inode_of(now[name]) not in self._published:
                    return False
                if name in before and _inode_of(before[name]) not in aside:
                    return False
        return True

    def take_back(self) -> bool:
        """Make everything as it was; whether that could be done. Ctrl-C waits."""
        kept: _Kept = {}
        complete = _persist(partial(self._find_kept, kept))
        for folder, mode in sorted(self._emptied.items()):
            complete &= _persist(partial(_make_again, folder, mode))
        for path in reversed(self._was):
            complete &= _persist(partial(self._restore, path, kept))
        for folder in reversed(self._made):
            complete &= _persist(partial(_remove_if_empty, folder))
        return complete

    def _find_kept(self, kept: _Kept) -> None:
        """What lies in the stage, by the numbers of the paths it is of."""
        with os.scandir(self._stage) as found:
            for each in found:
                number, dot, _ = each.name.partition(".")
                if dot and number.isdecimal():
                    known = kept.setdefault(int(number), [])
                    known.append((_inode(each.path), Path(each.path)))

    def _restore(self, path: str, kept: _Kept) -> None:
        """:raises FileNotFoundError: what was there is nowhere to be found"""
        was = self._was[path]
        if _inode(path) == was or self._is_anothers(path):
            return
        if was:
            source = _original(was, kept.get(self._numbers[path], []), path)
            if os.path.lexists(path) and files.exchange(source, Path(path)):
                return
            _take_away(path)
            files.move(source, Path(path))
        else:
            _take_away(path)

    def _is_anothers(self, path: str) -> bool:
        """Whether somebody else has put there what is at a path, after the change."""
        if path.startswith(f"{self._stage.parent}{os.sep}"):
            return False
        try:
            return os.lstat(path).st_ctime_ns > self._end
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _write(self, rows: list[_Row]) -> None:
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        with open(self._file, "a", encoding="ascii") as file:
            file.write(text)
        for row in rows:
            self._take(*row)

    def _take(self, kind: str, at: str, value: object) -> None:
        if kind == "path":
            self._numbers.setdefault(at, len(self._numbers))
            self._was.setdefault(at, _number(value))
        elif kind == "made":
            self._made.setdefault(at)
        elif kind == "emptied":
            self._emptied.setdefault(at, _number(value))
        elif kind == "published":
            self._published.add(_number(value))
        elif kind == "before" and isinstance(value, dict):
            self._metadata[at] = {str(name): str(value[name]) for name in value}
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
                    yield "path", folder, _inode(folder)
                    return
    yield "path", path, _inode(path)


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


def _metadata_folders(site: Path) -> dict[str, str]:
    """The ``.dist-info`` folders in a site-packages folder, and which ones they are.

    ``INODE:MTIME``, because the inode of what was removed is soon used again.
    """
    try:
        with os.scandir(site) as found:
            there = [each for each in found if each.name.endswith(_METADATA)]
    except FileNotFoundError:
        return {}
    states = {each.name: each.stat(follow_symlinks=False) for each in there}
    return {name: f"{each.st_ino}:{each.st_mtime_ns}" for name, each in states.items()}


def _is_same(before: str, now: str | None, is_amended: bool) -> bool:
    """Whether a ``.dist-info`` folder is the one that was there, amended or not."""
    if now is None or not is_amended:
        return now == before
    return _inode_of(now) == _inode_of(before)


def _inode_of(folder: str) -> int:
    return int(folder.partition(":")[0])


def _original(was: int, kept: Iterable[tuple[int, Path]], path: str) -> Path:
    """What was at a path, of what lies in the stage under its number.

    It has another inode if it had to be copied there, or came from a lower layer of an
    overlay; then its name tells: nothing else was put aside first.
    """
    found = sorted(kept, key=lambda each: int(each[1].name.split(".")[1]))
    same = [each for inode, each in found if inode == was]
    aside = [each for _, each in found if each.name.endswith(_ASIDE)]
    for each in (*same, *aside, *(each for _, each in found)):
        return each
    raise FileNotFoundError(path)


def _persist(act: Callable[[], object]) -> bool:
    """Do something that can be done twice; whether it worked. Ctrl-C is for later."""
    while True:
        try:
            act()
        except KeyboardInterrupt:
            continue
        except OSError:
            return False
        return True


def _take_away(path: str) -> None:
    if os.path.lexists(path):
        files.remove(Path(path))


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass


def _make_again(folder: str, mode: int) -> None:
    if not os.path.lexists(folder):
        os.mkdir(folder)
        os.chmod(folder, mode)


def _inode(path: str) -> int:
    """Of what is there; 0 if nothing is."""
    try:
        return os.lstat(path).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _mode(folder: str) -> int:
    return stat.S_IMODE(os.lstat(folder).st_mode)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(value)
    return value
