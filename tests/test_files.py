"""Files: never half of one, whatever happens."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from pathlib import Path

import pytest

from commonwheel import files
from disk import watched
from entries import write
from faults import fault, killed
from folders import snapshot


def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomically(path, b"one", 0o640)
    files.write_atomically(path, b"two", 0o604)
    assert snapshot(tmp_path) == {"file": ("file", 0o604, b"two")}
    with pytest.raises(FileNotFoundError):
        files.write_atomically(tmp_path / "gone/file", b"", 0o644)


def test_what_is_written_or_copied_is_on_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"one/from": "1", "one/folder/a": "2"})
    (tmp_path / "two").mkdir()
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if source.parent == tmp_path / "one":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with watched(tmp_path) as disk:
        files.write_atomically(tmp_path / "two/written", b"0", 0o644)
        for name in ("from", "folder"):
            files.move(tmp_path / "one" / name, tmp_path / "two" / name)
    assert disk.early == disk.lost(tmp_path) == []
    assert {*snapshot(tmp_path)} == {
        *("one", "two", "two/written", "two/from", "two/folder", "two/folder/a")
    }


@pytest.mark.parametrize("error", [OSError(errno.EIO, "lost"), KeyboardInterrupt()])
def test_a_failed_write_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    files.write_atomically(path, b"one", 0o644)
    before = snapshot(tmp_path)
    for number in itertools.count():
        with fault(tmp_path, number, error) as planned:
            try:
                files.write_atomically(path, b"two", 0o644)
            except (OSError, KeyboardInterrupt):
                assert snapshot(tmp_path) == before
        if not planned.happened:
            break
    assert number > 2
    assert path.read_bytes() == b"two"


def test_what_a_killed_write_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "entries.1000"
    for number in itertools.count():
        if not killed(tmp_path, number, lambda: files.write_atomically(path, b"", 0o644)):
            break
    assert number > 2
    path.unlink()
    left = os.listdir(tmp_path)
    assert left
    assert all(map(files.is_unfinished, left))
    for name in (".gitignore", ".keep", ".x.settings", ".new", "x.abcdefgh.new"):
        assert not files.is_unfinished(name)


def test_publish(tmp_path: Path) -> None:
    write(tmp_path, {"one/a": "1", "two/a": "2"})
    with pytest.raises(FileExistsError):
        files.publish(tmp_path / "one", tmp_path / "two")
    files.publish(tmp_path / "one", tmp_path / "three")
    assert (tmp_path / "three/a").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        files.publish(tmp_path / "one", tmp_path / "four")


def test_of_a_link_in_the_place_of_a_folder_only_the_link_is_meant(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"kept/below/a": ""})
    for folder in (tmp_path / "kept/below", tmp_path / "kept"):
        folder.chmod(0o500)
    before = snapshot(tmp_path)
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(OSError):  # noqa: PT011  Pythons word it differently
        files.remove_tree(tmp_path / "link")
    files.discard(tmp_path / "link")
    files.remove(tmp_path / "link")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_what_is_no_file_is_neither_read_nor_written(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "path", tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    if kind == "link":
        target.write_text("kept")
        os.utime(target, (0, 0))
    before = [each for each in (tmp_path / "target",) if each.exists()]
    with pytest.raises(OSError):  # noqa: PT011  each kind has its own
        files.open_to_append(path)
    if kind == "pipe":
        with pytest.raises(PermissionError):
            files.read(path)
    files.touch(path)
    assert [each for each in (tmp_path / "target",) if each.exists()] == before
    if kind == "link":
        assert (target.read_text(), target.stat().st_mtime) == ("kept", 0)


def test_remove_tree_follows_no_links(tmp_path: Path) -> None:
    write(tmp_path, {"kept/a": "", "tree/sub/b": ""})
    (tmp_path / "kept").chmod(0o500)
    (tmp_path / "tree/sub/link").symlink_to(tmp_path / "kept")
    files.seal(tmp_path / "tree")
    before = snapshot(tmp_path / "kept")
    files.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert snapshot(tmp_path / "kept") == before
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o500


def test_seal_and_merge(tmp_path: Path) -> None:
    write(tmp_path / "tree", {"a": "", "p/b": "", "p/q/c": ""})
    (tmp_path / "tree/a").chmod(0o700)
    files.seal(tmp_path / "tree")
    before = snapshot(tmp_path / "tree")
    modes = {name: mode for name, (_, mode, _) in before.items()}
    assert modes == {"a": 0o555, "p": 0o555, "p/b": 0o444, "p/q": 0o555, "p/q/c": 0o444}
    new = {"__pycache__/a": "1", "p/q/__pycache__/c": "2"}
    write(tmp_path / "new", new)
    previous = os.umask(0o077)
    try:
        files.merge(tmp_path / "new", tmp_path / "tree")
    finally:
        os.umask(previous)
    after = snapshot(tmp_path / "tree")
    assert {name: after[name] for name in before} == before
    added = {name: after[name] for name in after if name not in before}
    assert added == {
        "__pycache__": ("folder", 0o555, ""),
        "__pycache__/a": ("file", 0o444, b"1"),
        "p/q/__pycache__": ("folder", 0o555, ""),
        "p/q/__pycache__/c": ("file", 0o444, b"2"),
    }


def test_exchange(tmp_path: Path) -> None:
    write(tmp_path, {"folder/a": "1"})
    (tmp_path / "link").symlink_to("somewhere")
    if not files.exchange(tmp_path / "folder", tmp_path / "link"):
        pytest.skip("not on this system")
    assert os.readlink(tmp_path / "folder") == "somewhere"
    assert (tmp_path / "link/a").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        files.exchange(tmp_path / "folder", tmp_path / "gone")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renaming between folders answers as it does between filesystems."""
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        elsewhere = os.path.dirname(source) != os.path.dirname(target)
        if elsewhere and "copy" not in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", ["file", "folder", "link"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_is_moved_is_complete(
    tmp_path: Path, name: str, error: BaseException
) -> None:
    write(tmp_path, {"from/file": "1", "from/folder/a/b": "2", "to/other": ""})
    (tmp_path / "from/link").symlink_to(tmp_path / "to")
    (tmp_path / "from/folder").chmod(0o555)
    before = snapshot(tmp_path / "from")
    moved = {k: v for k, v in before.items() if k.partition("/")[0] == name}
    source, target = tmp_path / "from" / name, tmp_path / "to" / name
    for number in itertools.count():
        with fault(tmp_path, number, error) as planned:
            try:
                files.move(source, target)
            except (OSError, KeyboardInterrupt):
                if not os.path.lexists(target):
                    assert snapshot(tmp_path / "from") == before
                    continue
        after = snapshot(tmp_path / "to", without=("other",))
        after = {k: v for k, v in after.items() if not k.startswith(".commonwheel-")}
        assert after == moved
        if not planned.happened:
            break
        # only the source was not removed completely
        shutil.rmtree(tmp_path / "from")
        files.move(target, tmp_path / "copy")
        (tmp_path / "from").mkdir()
        write(tmp_path, {"from/file": "1", "from/folder/a/b": "2"})
        (tmp_path / "from/link").symlink_to(tmp_path / "to")
        (tmp_path / "from/folder").chmod(0o555)
        files.remove(tmp_path / "copy")
    assert number > 2


def test_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.sync_filesystem(tmp_path)
    files.sync_folder(tmp_path)
    monkeypatch.setattr(files, "_syncfs", lambda _: -1)
    with pytest.raises(OSError, match=str(tmp_path)):
        files.sync_filesystem(tmp_path)
