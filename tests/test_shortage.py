"""What is said of a system that has not enough."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from commonwheel import shortage
from commonwheel.errors import explain


def test_a_full_filesystem_is_named_though_the_file_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone/gone/file"
    said = explain(OSError(errno.ENOSPC, "full", str(path)))
    place = shortage.mount_point(str(tmp_path))
    assert os.path.ismount(place)
    assert f"full ({path}): the filesystem at {place} has no " in said
    assert "`commonwheel gc`" in said


def test_of_a_copy_the_side_that_is_written_is_full(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "full", "/proc/version", None, str(tmp_path / "copy"))
    assert shortage.path_of(error) == str(tmp_path / "copy")
    assert "/proc" not in explain(error)


def test_an_error_without_a_name_is_about_where_it_was(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "full")
    assert explain(error) == "full"
    assert shortage.mount_point(str(tmp_path)) in explain(error, tmp_path)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.ENOMEM, "ulimit -v"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EDQUOT, "quota on"),
        (errno.EROFS, "is read-only"),
    ],
)
def test_each_limit_has_a_way_out(number: int, said: str, tmp_path: Path) -> None:
    assert said in shortage.way_out(OSError(number, "reason", str(tmp_path)))


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert explain(OSError(errno.EACCES, "no", "/file")) == "no (/file)"


def test_who_was_killed() -> None:
    assert "out of memory" in shortage.killed_by(signal.SIGKILL)
    assert "SIGSEGV" in shortage.killed_by(signal.SIGSEGV)
    assert "signal 63" in shortage.killed_by(63)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), shortage.THREADS),
        (SystemError("<f> returned NULL without setting an exception"), shortage.MEMORY),
        (SystemError("error return without exception set"), shortage.MEMORY),
        (RuntimeError("something else"), None),
        (SystemError("something else"), None),
    ],
)
def test_what_the_interpreter_itself_lacks(
    error: RuntimeError | SystemError, said: str | None
) -> None:
    assert shortage.of_interpreter(error) == said
