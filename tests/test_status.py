"""Status: what an environment links to, and what that saves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from commonwheel import sharing
from commonwheel.environment import Environment
from commonwheel.files import remove_tree
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.link_mode import LinkChoice, LinkMode
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


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
def test_real_files_are_shown_with_what_was_really_used(
    tmp_path: Path,
    environment: Environment,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    mode: LinkMode,
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(sharing, "reflink", refuse)
    if mode is LinkMode.COPY:
        monkeypatch.setattr(os, "link", refuse)
    wheel = write_wheel(tmp_path / "wheels", FILES)
    links = LinkChoice(LinkMode.AUTO)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    found = status(environment)
    (one,) = found.linked
    assert (one.name, one.mode, one.present) == ("sample", mode, True)
    assert found.plain == 0
    if mode is LinkMode.COPY:
        assert one.bytes_saved == one.inodes_saved == 0


def test_hard_links_save_what_they_have_in_common_with_the_store(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path / "wheels", {**FILES, "sample/settings.toml": "s" * 50})
    links = LinkChoice(LinkMode.HARDLINK)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    (one,) = status(environment).linked
    shared = [
        path
        for path in environment.scheme.purelib.rglob("*")
        if path.is_file() and path.stat().st_nlink > 1 and "dist-info" not in str(path)
    ]
    assert one.inodes_saved == len(shared) == 4
    assert one.bytes_saved == sum(path.stat().st_size for path in shared)


def test_real_files_without_their_entry_are_whole(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path / "wheels", FILES)
    links = LinkChoice(LinkMode.COPY)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    remove_tree(store.root / "entries")
    (one,) = status(environment).linked
    assert (one.mode, one.present, one.bytes_saved) == (LinkMode.COPY, False, 0)
