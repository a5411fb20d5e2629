"""What a power cut would leave: only what a program has waited for is on the disk.

Contents are, when the file (``fsync``) or its filesystem (``syncfs``) was waited for; a
name is at once, which is the worst that can be, or when its folder was waited for, which
is the worst for who is told that it is there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commonwheel import files

Look = Callable[[Path], object]


def _nothing(path: Path) -> None:
    """Nobody looks."""


class Disk:
    """The disk below a folder, from when it is watched on."""

    def __init__(self, root: Path, look: Look = _nothing) -> None:
        """``look`` is called before a path is made or written to, or goes, with it."""
        self._root = str(root)
        self._look = look
        self._kept: dict[int, bytes] = {}
        self.early: list[Path] = []
        """The files that got a name before their contents were there, by that name."""
        self.untold: set[Path] = set()
        """The folders that got a name that may not be there."""

    def kept(self, path: Path) -> bytes:
        """What of a file's contents is there."""
        return self._kept.get(path.lstat().st_ino, b"")

    def lost(self, path: Path) -> list[Path]:
        """The files at or below ``path`` whose contents are not there."""
        return [each for each in _files(path) if each.read_bytes() != self.kept(each)]

    def sync(self, path: Path) -> None:
        """Keep all that is on the same filesystem."""
        there = Path(self._root, path.relative_to(self._root).parts[0])
        self.untold = {each for each in self.untold if not each.is_relative_to(there)}
        for each in _files(there):
            self._keep(each)

    def fsync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self.untold = {
                each for each in self.untold if not os.path.samestat(each.stat(), status)
            }
            return
        for each in _files(Path(self._root)):
            if os.path.samestat(each.lstat(), status):
                self._keep(each)

    def _keep(self, path: Path) -> None:
        self._kept[path.lstat().st_ino] = path.read_bytes()

    def see(self, event: str, args: tuple[object, ...]) -> None:
        """What the interpreter is about to do."""
        if event not in _CHANGES:
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & os.O_CREAT):
            return
        told = args[:1] if event == "open" else args[:2]
        names = [Path(each) for each in told if isinstance(each, (str, Path))]
        named = [path for path in names if path.is_relative_to(self._root)]
        for path in named:
            self._look(path)
        if event == "os.rename" and named:  # not what an import compiles meanwhile
            source, target = names
            lost = (each.relative_to(source) for each in self.lost(source))
            self.early += [target / each for each in lost]
            self.untold.add(target.parent)


_CHANGES = frozenset(("os.rename", "os.symlink", "os.link", "os.remove", "open"))
_watching: list[Disk] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    for disk in _watching:
        disk.see(event, args)


sys.addaudithook(_hook)  # for the life of the process


@contextmanager
def watched(root: Path, look: Look = _nothing) -> Iterator[Disk]:
    """What is below ``root``; nothing that is there by now was waited for.

    Each folder in it counts as a filesystem of its own, which is the worst that can be.
    """
    disk = Disk(root, look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk.fsync)
        patch.setattr(files, "sync_filesystem", disk.sync)
        _watching.append(disk)
        try:
            yield disk
        finally:
            _watching.remove(disk)


def _files(path: Path) -> Iterator[Path]:
    """Files that are not links, at or below ``path``."""
    if path.is_dir() and not path.is_symlink():
        for current, _, names in os.walk(path):
            yield from (each for name in names for each in _files(Path(current, name)))
    elif path.is_file() and not path.is_symlink():
        yield path
