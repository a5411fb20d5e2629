"""Archives: the same bytes for the same files, and nothing of who made them."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest

from commonwheel import archive
from commonwheel.errors import InvalidSetting
from commonwheel.export_errors import ProgramMissing

KINDS = ("tar", "tar.gz", "tgz", "tar.zst", "squashfs", "erofs")
LONG = "long-" * 40 + "/" + "name-" * 20


def fill(folder: Path, names: list[str]) -> Path:
    """A folder whose files are made in the order of ``names``."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"contents of {name}")
    (folder / "b").chmod(0o700)
    (folder / "link").symlink_to("a/one")
    (folder / "empty").mkdir()
    return folder


NAMES = ["a/one", "a/two", "b", "naïve", LONG]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_wherever_and_whenever(tmp_path: Path, kind: str) -> None:
    one = fill(tmp_path / "one", NAMES)
    other = fill(tmp_path / "deeper/other", NAMES[::-1])
    for path in other.rglob("*"):
        os.utime(path, (1, time.time() - 1e6), follow_symlinks=False)
    (other / "a").chmod(0o775)
    (other / "a/one").chmod(0o664)
    if kind in ("squashfs", "erofs"):  # whose permission bits are the files'
        (other / "a").chmod((one / "a").stat().st_mode & 0o777)
        (other / "a/one").chmod((one / "a/one").stat().st_mode & 0o777)
    archive.write(one, tmp_path / f"one.{kind}")
    archive.write(other, tmp_path / f"other.{kind}")
    found = (tmp_path / f"one.{kind}").read_bytes()
    assert found == (tmp_path / f"other.{kind}").read_bytes()
    (other / "a/one").write_text("something else ")
    archive.write(other, tmp_path / f"other.{kind}")
    assert found != (tmp_path / f"other.{kind}").read_bytes()


def test_what_is_in_a_tar_archive(tmp_path: Path) -> None:
    folder = fill(tmp_path / "one", NAMES)
    os.link(folder / "a/one", folder / "a/same")
    target = tmp_path / "one.tar.gz"
    archive.write(folder, target, below="/opt/app/", time=1_000_000_000)
    with tarfile.open(target) as opened:
        members = opened.getmembers()
        names = [each.name for each in members]
        assert names == sorted(names, key=os.fsencode)
        assert all(name.startswith("opt/app/") for name in names)
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
            (0, 0, "", "", 1_000_000_000)
        }
        modes = {each.name.removeprefix("opt/app/"): each.mode for each in members}
        assert (modes["a"], modes["a/one"], modes["b"]) == (0o755, 0o644, 0o755)
        assert modes["empty"] == 0o755
        # a link to the store's own file is a file like any other
        assert opened.getmember("opt/app/a/same").isreg()
        opened.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out/opt/app" / LONG).read_text() == f"contents of {LONG}"
    assert (tmp_path / "out/opt/app/link").read_text() == "contents of a/one"


def test_nobody_may_write_to_what_is_sealed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "one", NAMES)
    archive.write(folder, tmp_path / "one.tar", sealed=True)
    with tarfile.open(tmp_path / "one.tar") as opened:
        modes = {each.mode for each in opened.getmembers() if not each.issym()}
    assert modes == {0o555, 0o444}


def test_a_name_that_says_no_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"\.tar\.zst"):
        archive.write(fill(tmp_path / "one", NAMES), tmp_path / "one.zip")
    assert not (tmp_path / "one.zip").exists()


@pytest.mark.parametrize("kind", ["tar.zst", "squashfs", "erofs"])
def test_a_program_that_is_missing_is_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ProgramMissing, match="install the package"):
        archive.write(fill(tmp_path / "one", NAMES), tmp_path / f"one.{kind}")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_leaves_what_was_there(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "one", NAMES)
    target = tmp_path / f"one.{kind}"
    target.write_text("before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        archive.write(folder, target)
    assert target.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"one", target.name}
