"""Status: what an environment links to, and what that saves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonwheel.environment import Environment
from commonwheel.files import remove_tree
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.maintenance.status import status
from commonwheel.store import Store
from wheel_file import write_wheel

FILES = {
    "sample/__init__.py": "x = 1\n",
    "sample/inner/data.txt": "d" * 1000,
    "sample/inner/__init__.py": "",
    "sample.pth": "# real\n",
    "module.py": "y = 2\n",
}


@pytest.fixture
def linked(tmp_path: Path, environment: Environment, store: Store) -> Environment:
    wheel = write_wheel(tmp_path / "wheels", FILES)
    install_wheels([WheelRequest(wheel)], environment, store)
    return environment


def test_what_is_saved_is_what_copying_and_compiling_would_have_added(
    tmp_path: Path, linked: Environment, store: Store
) -> None:
    (found,) = status(linked).linked
    (tree,) = (store.root / "entries").glob("*/tree")
    inodes = size = 0
    for current, folders, files in os.walk(tree):
        for name in files:
            if name != "sample.pth":
                inodes += 1
                size += os.path.getsize(os.path.join(current, name))
        inodes += len([name for name in folders if name != "__pycache__"])
    # the manifest, the links to `sample` and `module`
    assert found.inodes_saved == inodes - 3
    assert found.bytes_saved == size


def test_a_missing_entry_is_shown_and_saves_nothing(
    linked: Environment, store: Store
) -> None:
    remove_tree(store.root / "entries")
    (found,) = status(linked).linked
    assert not found.present
    assert found.bytes_saved == found.inodes_saved == 0


def test_copied_distributions_are_counted(linked: Environment, site: Path) -> None:
    (site / "Copied-1.0.dist-info").mkdir()
    found = status(linked)
    assert (len(found.linked), found.plain) == (1, 1)


def test_status_changes_nothing(tmp_path: Path, linked: Environment) -> None:
    before = sorted((str(p), p.lstat().st_mtime_ns) for p in tmp_path.rglob("*"))
    status(linked)
    assert sorted((str(p), p.lstat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
