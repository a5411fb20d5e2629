"""Looking at folders: what is in them, down to modes and the targets of links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

Snapshot = dict[str, "tuple[str, int, str | bytes]"]


def snapshot(root: Path, *, without: tuple[str, ...] = ()) -> Snapshot:
    """Everything below ``root``: kind, mode, and contents or target; follows no links."""
    found: Snapshot = {}
    for current, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(current, name)
            if path.name in without:
                continue
            mode = stat.S_IMODE(path.lstat().st_mode)
            key = path.relative_to(root).as_posix()
            if path.is_symlink():
                found[key] = ("link", mode, os.readlink(path))
            elif path.is_dir():
                found[key] = ("folder", mode, "")
            else:
                found[key] = ("file", mode, path.read_bytes())
        folders[:] = [name for name in folders if name not in without]
    return found


def shown(view: Path) -> dict[str, str]:
    """The files that a view shows, links followed, as an import system would see them."""
    return dict(_shown(view, ""))


def _shown(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        path = folder / name
        if path.is_dir():
            if name != "__pycache__":
                yield from _shown(path, f"{prefix}{name}/")
        elif not name.endswith((".commonwheel", ".kept")):
            yield prefix + name, path.read_text()
