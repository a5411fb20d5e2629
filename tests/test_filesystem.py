"""Which filesystem a path is on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonwheel import filesystem

MOUNTS = """\
21 1 8:1 / / rw - ext4 /dev/one rw
30 21 0:5 / /mnt/a\\040b rw,relatime shared:1 - tmpfs tmpfs rw
31 21 8:1 /proj /mnt/a\\040b/app rw - ext4 /dev/one rw
"""


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/", "/"),
        ("/mnt/a", "/"),
        ("/mnt/a b", "/mnt/a b"),
        ("/mnt/a b/application", "/mnt/a b"),
        ("/mnt/a b/app/venv", "/mnt/a b/app"),
    ],
)
def test_where_it_is_mounted(
    path: str, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "mountinfo")
    assert filesystem._mount_point(path) == point


def test_what_is_not_there_would_be_where_its_folder_is(tmp_path: Path) -> None:
    assert filesystem.identity(tmp_path / "not/there") == filesystem.identity(tmp_path)
    assert filesystem.identity(tmp_path) != filesystem.identity(Path("/proc"))


def test_another_filesystem_with_the_same_device_number_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filesystem.identity(tmp_path)
    real = os.statvfs(tmp_path)

    class Other:
        f_fsid = real.f_fsid + 1

    monkeypatch.setattr(os, "statvfs", lambda path: Other)
    assert filesystem.identity(tmp_path) != before


def test_what_may_not_be_looked_at_is_on_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "stat", refuse)
    assert filesystem.identity(tmp_path) == ""
