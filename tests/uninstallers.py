"""How other installers uninstall: models of what pip and uv do with a RECORD.

pip: ``pip/_internal/req/req_uninstall.py`` (26.3). uv: ``uninstall_wheel`` in
``crates/uv-install-wheel/src/uninstall.rs`` (0.13).
"""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

from conftest import CACHE_TAG


def record_of(site: Path, name: str) -> list[str]:
    """The paths that the RECORD of the distribution ``name`` lists."""
    path = next(site.glob(f"{name}-*.dist-info")) / "RECORD"
    with open(path, newline="") as file:
        return [row[0] for row in csv.reader(file)]


def pip(site: Path, name: str) -> None:
    """Everything listed that exists goes, and each folder of which every *file* goes."""
    listed: set[str] = set()
    for row in record_of(site, name):
        folder, file = os.path.split(os.path.join(site, row))
        listed.add(os.path.join(os.path.realpath(folder), file))
        if file.endswith(".py"):
            place = os.path.join(folder, "__pycache__")
            compiled = f"{file.removesuffix('.py')}.{CACHE_TAG}.pyc"
            listed.add(os.path.join(os.path.realpath(place), compiled))
    listed = {path for path in listed if os.path.exists(path)}
    for path in sorted(_compress(listed)):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        try:
            os.removedirs(os.path.dirname(path.rstrip(os.sep)))
        except OSError:
            pass


def _compress(paths: set[str]) -> set[str]:
    """``compress_for_rename``, and what ``compact`` makes of it."""
    remaining = set(paths)
    whole: set[str] = set()
    for root in sorted({os.path.dirname(path) for path in paths}, key=len):
        if not any(root.startswith(folder) for folder in whole):
            files = {
                os.path.join(current, file)
                for current, _, names in os.walk(root)
                for file in names
            }
            if files <= remaining:
                remaining -= files
                whole.add(root + os.sep)
    return {p for p in remaining if not p.startswith(tuple(whole))} | whole


def uv(site: Path, name: str) -> None:
    """Everything listed goes, ``__pycache__`` of every visited folder, empty folders."""
    visited: set[Path] = set()
    for row in record_of(site, name):
        path = site / row
        if path.is_symlink() or path.is_file():
            path.unlink()
        visited.add(path.parent)
    for folder in visited:
        if (folder / "__pycache__").is_dir():
            shutil.rmtree(folder / "__pycache__")
    pending = sorted(visited, key=lambda path: len(path.parts))
    while pending:
        folder = pending.pop()
        if folder != site:
            try:
                folder.rmdir()
            except OSError:
                continue
            pending.append(folder.parent)
