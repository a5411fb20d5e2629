"""Steps: changes to files and folders, each of which can be taken back.

What was there is noted in a journal before a step is taken. What a step replaces or
removes is kept in a folder beside, the stage, until the whole change has come to its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from commonwheel import files
from commonwheel.journal import Journal


class Steps:
    """The steps of one change, as far as it has come."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._folders: set[Path] = set()
        self._emptied: set[Path] = set()

    def new_name(self, path: Path) -> Path:
        """A name to make something at that is then :meth:`put` at ``path``."""
        return self._journal.name_for(path)

    def will_make(self, path: Path) -> None:
        """To be called before something is made at ``path``, where nothing is yet."""
        self._journal.will_touch(path)

    def put(self, staged: Path, path: Path) -> None:
        """Put ``staged`` at ``path``; what was there is kept until the end."""
        self._journal.will_touch(path)
        if os.path.lexists(path):
            if files.exchange(staged, path):
                return
            self.move_aside(path)
        self._journal.move_out(staged, path)

    def move_aside(self, path: Path) -> None:
        """Take something away; it is kept until the end."""
        files.move(path, self._journal.name_aside(path))

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
            self._journal.will_make_folder(folder)
            folder.mkdir()
        self._folders.add(folder)

    def _remove_folder(self, folder: Path) -> bool:
        """Remove a folder if it is empty, and may be removed."""
        try:
            if os.listdir(folder):
                return False
            self._journal.will_remove_folder(folder)
            folder.rmdir()
        except OSError:
            return False
        return True
