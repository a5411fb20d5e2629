"""Journal: what a change of an environment touches, as it was before it.

It lies in the stage, the folder in which a change keeps what it is going to put
somewhere, and what it has put aside; so whoever finds a stage can go back to what was:
the process that made it, or, if that was killed, the next one. Nothing is said of what
was done: each path is looked at, and what was there is found again by its inode, at its
place or in the stage. So it can be done at any point, and twice.

What can be foreseen is written down before the first path is touched. Paths are relative
to the stage's site-packages, which may be moved before somebody goes back.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from commonwheel import files

_NAME = "journal"
_ASIDE = ".old"
_METADATA = ".dist-info"
_Row = tuple[str, str, object]
_Kept = dict[int, list[tuple[int, Path]]]


class Journal:
    """What one change touches: what to look at, and what was there."""

    def __init__(self, stage: Path) -> None:
        """``stage``: an empty folder, or one that another process has left."""
        self._stage = stage
        self._file = stage / _NAME
        self._site = str(stage.parent.parent)
        self._own = os.path.join(stage.parent, "")
        self._was: dict[str, int] = {}
        """What was at a path: its inode, or 0 for nothing."""
        self._numbers: dict[str, int] = {}
        """Of the paths, in their order; names in the stage begin with them."""
        self._names = 0
        self._put: dict[str, str] = {}
        """What the change puts at a path, so that it is known again."""
        self._made: dict[str, None] = {}
        """Folders that were not there."""
        self._emptied: dict[str, int] = {}
        """Folders that may go with what is in them: their permission bits."""
        self._owners: dict[str, int] = {}
        """``.dist-info`` folders that something is changed in: their inodes."""
        self._stage_then = 0
        self._is_mine = True

    @classmethod
    def read(cls, stage: Path) -> Journal:
        """What a process has left in ``stage``.

        A row that was cut off belongs to a step that was not taken.

        :raises OSError: it cannot be read
        """
        found = cls(stage)
        found._is_mine = False
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
        rows: list[_Row] = [("stage", self._site, _inode(str(self._stage)))]
        tops = tuple(os.path.join(view, "") for view in views)
        links: dict[str, bool] = {}
        for path in dict.fromkeys(map(str, paths)):
            rows += _foreseen(path, tops, links)
        owners = dict.fromkeys(os.path.dirname(path) for _, path, _ in rows)
        rows += [("owner", o, _inode(o)) for o in owners if o.endswith(_METADATA)]
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

    def will_put(self, staged: Mapping[Path, Path]) -> None:
        """To be called before anything is put at its place: what, by the places.

        What is found there later and is something else was put there by somebody else.
        """
        rows = [("put", str(a), _identity(str(each), a)) for a, each in staged.items()]
        self._write(rows)

    def keep(self) -> None:
        """Wait until the journal is on the disk.

        :raises OSError: it is not
        """
        with open(self._file, "rb") as file:
            os.fsync(file.fileno())

    def is_of_now(self) -> bool:
        """Whether nobody else has changed since what this is about.

        Of each distribution that is touched the metadata is what was there before, or
        what the change puts there; and neither of them is gone.

        :raises OSError: the stage cannot be read
        """
        if self._stage_then not in (0, _inode(str(self._stage))):
            return False  # a copy, whose inodes say nothing
        with os.scandir(self._stage) as found:
            aside = {each.inode() for each in found}
        touched = [path for path in self._was if path.endswith(_METADATA)]
        for path in dict.fromkeys((*self._owners, *touched)):
            was = self._was[path] if path in self._was else self._owners[path]
            put = int(self._put.get(path, "0").partition(":")[0])
            now = _inode(path)
            is_put = _identity(path, Path(path)) == self._put.get(path)
            if now not in (0, was) and not is_put:
                return False
            if not {was, put} <= {0, now} | aside:
                return False
        return True

    def has_kept(self) -> bool:
        """Whether something lies in the stage that was at a place before.

        :raises OSError: the stage cannot be read
        """
        if self._stage_then not in (0, _inode(str(self._stage))):
            return True
        before = {was for was in self._was.values() if was}
        with os.scandir(self._stage) as found:
            return any(e.name.endswith(_ASIDE) or e.inode() in before for e in found)

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
        was, now = self._was[path], _inode(path)
        if now == was or (now and not self._has_put(path)):
            return
        if not was:
            self._take_away(path)
            return
        source = _original(was, kept.get(self._numbers[path], []))
        if source is None:
            return  # it was never put aside; somebody else has taken it away
        if now and files.exchange(source, Path(path)):
            return
        self._take_away(path)
        files.move(source, Path(path))

    def _take_away(self, path: str) -> None:
        """In one step, into the stage: else it would seem to be gone by somebody else."""
        if os.path.lexists(path):
            files.move(Path(path), self._stage / f"gone-{os.urandom(8).hex()}")

    def _has_put(self, path: str) -> bool:
        """Whether what is at a path is there by this change."""
        if self._is_mine or path.startswith(self._own):
            return True
        right, found = self._put.get(path, ""), _identity(path, Path(path))
        if right and os.lstat(path).st_dev != os.lstat(self._stage).st_dev:
            # it had to be copied there
            right, found = (each.partition(":")[2] for each in (right, found))
        return found == right

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
            self._put[at] = str(value)
            return
        if not isinstance(value, int):
            raise ValueError(value)
        if kind == "path":
            self._numbers.setdefault(at, len(self._numbers))
            self._was.setdefault(at, value)
        elif kind == "made":
            self._made.setdefault(at)
        elif kind == "emptied":
            self._emptied.setdefault(at, value)
        elif kind == "owner":
            self._owners[at] = value
        elif kind == "stage":
            self._stage_then = value
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


def _original(was: int, kept: Iterable[tuple[int, Path]]) -> Path | None:
    """What was at a path, of what lies in the stage under its number.

    It has another inode if it had to be copied there, or came from a lower layer of an
    overlay; then its name tells: nothing else was put aside first.
    """
    found = sorted(kept, key=lambda each: int(each[1].name.split(".")[1]))
    same = [each for inode, each in found if inode == was]
    aside = [each for _, each in found if each.name.endswith(_ASIDE)]
    return next(iter((*same, *aside, *(each for _, each in found))), None)


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


def _identity(path: str, place: Path) -> str:
    """What is there, so that it is known again at ``place``: its inode and more.

    An inode is soon used again, and a file that was edited is somebody else's. So is
    metadata; in other folders something may be written for other reasons (bytecode).
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISDIR(status.st_mode):
        time = f":{status.st_mtime_ns}" if place.suffix == _METADATA else ""
        return f"{status.st_ino}{time}"
    return f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"


def _mode(folder: str) -> int:
    return stat.S_IMODE(os.lstat(folder).st_mode)
