"""Steps: changes to files and folders, each of which can be taken back.

How a step is taken back is noted before the step is taken. What a step replaces or
removes is kept in a folder beside, the stage, until the whole change has come to its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from commonwheel import files


class Steps:
    """The steps of one change, as far as it has come."""

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self._names = 0
        self._undo: list[Callable[[], object]] = []
        self._folders: set[Path] = set()
        self._emptied: set[Path] = set()

    def take_back(self) -> bool:
        """Undo every step, the last one first; whether all of them could be undone."""
        complete = True
        while self._undo:
            try:
                self._undo[-1]()
            except KeyboardInterrupt:
                continue  # not now; a step can be undone twice
            except OSError:
                complete = False
            self._undo.pop()
        return complete

    def new_name(self) -> Path:
        """A path to make something at that is then :meth:`put` in its place."""
        self._names += 1
        return self._stage / str(self._names)

    def will_make(self, path: Path) -> None:
        """To be called before something is made at ``path``, where nothing is yet."""
        self._undo.append(partial(_take_away, path))

    def put(self, staged: Path, path: Path) -> None:
        """Put ``staged`` at ``path``; what was there is kept until the end."""
        if os.path.lexists(path):
            self._undo.append(partial(_swap_back, staged, path, _identity(staged)))
            if files.exchange(staged, path):
                return
            self.move_aside(path)
        self._undo.append(partial(_take_away, path))
        files.move(staged, path)

    def move_aside(self, path: Path) -> None:
        """Take something away; it is kept until the end."""
        kept = self.new_name()
        self._undo.append(partial(_put_back, kept, path))
        files.move(path, kept)

    def remove(self, paths: Iterable[Path]) -> None:
        """Take away files and links, as far as they are there."""
        for path in paths:
            if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
                self.move_aside(path)
                self._emptied.add(path.parent)

    def prune(self) -> None:
        """Remove the folders that removals have emptied."""
        for folder in sorted(self._emptied, key=lambda path: -len(path.parts)):
            while self._remove_folder(folder):
                folder = folder.parent  # noqa: PLW2901

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those above it, where there is none."""
        if folder in self._folders:
            return
        if not folder.is_dir():
            self.make_folder(folder.parent)
            self._undo.append(partial(_remove_if_empty, folder))
            folder.mkdir()
        self._folders.add(folder)

    def _remove_folder(self, folder: Path) -> bool:
        """Remove a folder if it is empty, and may be removed."""
        try:
            mode = folder.stat().st_mode
            self._undo.append(partial(_make_again, folder, mode))
            folder.rmdir()
        except OSError:
            return False
        return True


# How steps are undone. Each works whether the step was taken or not, and twice.


def _take_away(path: Path) -> None:
    if os.path.lexists(path):
        files.remove(path)


def _put_back(kept: Path, path: Path) -> None:
    if os.path.lexists(kept):
        _take_away(path)
        files.move(kept, path)


def _swap_back(staged: Path, path: Path, new: tuple[int, int]) -> None:
    if os.path.lexists(path) and _identity(path) == new:
        files.exchange(staged, path)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass


def _make_again(folder: Path, mode: int) -> None:
    if not folder.exists():
        folder.mkdir()
        folder.chmod(mode)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
