"""Sharing: a file of the store becomes a real file, by the first way that works."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commonwheel import sharing
from commonwheel.errors import LinkModeUnavailable
from commonwheel.link_mode import LinkMode
from commonwheel.sharing import EDITABLE, WAYS, Sharing

AUTO = WAYS[LinkMode.AUTO]
CONTENT = b"what a wheel brings"
OLD = 1_234_567_890_123_456_789  # nanoseconds
FICLONE = 0x40049409


class System:
    """What the system does when it is asked for a reflink, a hard link or a copy.

    An error number in ``fails`` is what it answers; ``asked`` is what was asked for.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.fails: dict[str, int] = {}
        self._link, self._copy = os.link, os.copy_file_range
        monkeypatch.setattr(fcntl, "ioctl", self._ioctl)
        monkeypatch.setattr(os, "link", self._hard_link)
        monkeypatch.setattr(os, "copy_file_range", self._copy_file_range)

    def _ask(self, way: str, *paths: object) -> None:
        self.asked.append(way)
        if way in self.fails:
            code = self.fails[way]
            # as the interpreter reports it: of two paths, and with no path for numbers
            raise OSError(code, os.strerror(code), *map(str, paths[:1]))

    def _ioctl(self, target: object, request: int, source: int) -> int:
        assert request == FICLONE
        self._ask("reflink")
        size = os.fstat(source).st_size
        os.write(target.fileno(), os.pread(source, size, 0))  # type: ignore[attr-defined]
        return 0

    def _hard_link(self, source: Path, target: Path) -> None:
        self._ask("hardlink", source, target)
        self._link(source, target)

    def _copy_file_range(self, source: int, target: int, count: int) -> int:
        self._ask("copy")
        return self._copy(source, target, count)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file as it lies in a store."""
    path = tmp_path / "stored"
    path.write_bytes(CONTENT)
    path.chmod(0o444)
    os.utime(path, ns=(OLD, OLD))
    return path


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


NEVER = [
    errno.EXDEV,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EPERM,
]
"""What systems answer where a way does not work at all."""


@pytest.mark.parametrize("code", NEVER)
def test_what_works_is_found_out_on_the_first_file(
    system: System, source: Path, tmp_path: Path, code: int
) -> None:
    system.fails = {"reflink": code}
    auto = Sharing(AUTO)
    assert system.asked == []  # nothing is probed
    for number in range(3):
        auto.place(source, tmp_path / f"{number}")
    assert system.asked == ["reflink", "hardlink", "hardlink", "hardlink"]
    assert auto.used is LinkMode.HARDLINK
    assert source.stat().st_nlink == 4


@pytest.mark.parametrize("code", NEVER)
def test_copies_where_nothing_else_works(
    system: System, source: Path, tmp_path: Path, code: int
) -> None:
    system.fails = {"reflink": code, "hardlink": code}
    auto = Sharing(AUTO)
    for number in range(3):
        auto.place(source, tmp_path / f"{number}")
        assert (tmp_path / f"{number}").read_bytes() == CONTENT
    assert system.asked == ["reflink", "hardlink", "copy", "copy", "copy"]
    assert auto.used is LinkMode.COPY
    assert source.stat().st_nlink == 1


def test_a_way_that_works_later_is_not_tried_again(
    system: System, source: Path, tmp_path: Path
) -> None:
    system.fails = {"reflink": errno.EXDEV}
    auto = Sharing(AUTO)
    auto.place(source, tmp_path / "one")
    system.fails = {}
    auto.place(source, tmp_path / "two")
    assert system.asked == ["reflink", "hardlink", "hardlink"]


def test_a_reflink_is_all_it_takes_where_there_are_some(
    system: System, source: Path, tmp_path: Path
) -> None:
    for ways in (AUTO, EDITABLE, WAYS[LinkMode.REFLINK]):
        system.asked.clear()
        target = tmp_path / str(ways)
        sharing = Sharing(ways)
        sharing.place(source, target)
        assert system.asked == ["reflink"]
        assert sharing.used is LinkMode.REFLINK
        assert target.read_bytes() == CONTENT


def test_what_may_be_edited_is_never_a_hard_link(
    system: System, source: Path, tmp_path: Path
) -> None:
    system.fails = {"reflink": errno.EOPNOTSUPP}
    Sharing(EDITABLE).place(source, tmp_path / "script")
    assert system.asked == ["reflink", "copy"]
    assert not source.samefile(tmp_path / "script")


@pytest.mark.parametrize("mode", [LinkMode.REFLINK, LinkMode.HARDLINK])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EXDEV, "the store is on another filesystem"),
        (errno.EOPNOTSUPP, "Operation not supported"),
        (errno.EPERM, "Operation not permitted"),
    ],
)
def test_the_only_way_that_is_allowed_is_an_error_if_it_does_not_work(
    system: System, source: Path, tmp_path: Path, mode: LinkMode, code: int, reason: str
) -> None:
    system.fails = {mode.value: code}
    target = tmp_path / "target"
    with pytest.raises(LinkModeUnavailable) as caught:
        Sharing(WAYS[mode]).place(source, target)
    assert (caught.value.mode, caught.value.reason) == (mode.value, reason)
    assert (caught.value.source, caught.value.target) == (source, target)
    assert system.asked == [mode.value]
    assert not target.exists()
    assert "\n" not in str(caught.value)


def test_a_reason_names_no_file_so_it_is_the_same_for_all(
    system: System, source: Path, tmp_path: Path
) -> None:
    """pip installs one distribution at a time, and says the same thing once."""
    system.fails = {"reflink": errno.EOPNOTSUPP, "hardlink": errno.EPERM}
    auto = Sharing(AUTO)
    auto.place(source, tmp_path / "target")
    assert auto.reason == "Operation not permitted"


@pytest.mark.parametrize("ways", [AUTO, WAYS[LinkMode.HARDLINK]])
def test_a_file_with_too_many_links_is_copied_and_the_rest_is_linked(
    system: System, source: Path, tmp_path: Path, ways: tuple[LinkMode, ...]
) -> None:
    system.fails = {"reflink": errno.EOPNOTSUPP, "hardlink": errno.EMLINK}
    sharing = Sharing(ways)
    sharing.place(source, tmp_path / "one")
    assert not source.samefile(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == CONTENT
    assert sharing.used is LinkMode.HARDLINK
    del system.fails["hardlink"]
    sharing.place(source, tmp_path / "two")
    assert source.samefile(tmp_path / "two")


@pytest.mark.parametrize("way", ["reflink", "hardlink", "copy"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_an_error_of_the_disk_is_no_reason_for_another_way(
    system: System, source: Path, tmp_path: Path, way: str, code: int
) -> None:
    others = {"reflink": errno.EOPNOTSUPP, "hardlink": errno.EOPNOTSUPP}
    system.fails = {**others, way: code}
    auto = Sharing(AUTO)
    with pytest.raises(OSError, match=re_of(code)):
        auto.place(source, tmp_path / "target")
    assert auto.used.value == way


def re_of(code: int) -> str:
    return f"Errno {code}\\b"


@pytest.mark.parametrize("ways", [AUTO, EDITABLE, WAYS[LinkMode.COPY]])
def test_a_name_that_cannot_be_is_an_error_not_a_missing_way(
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    tmp_path: Path,
    ways: tuple[LinkMode, ...],
) -> None:
    """As vfat answers to ``a:b``."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument", "a:b")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OSError, match=r"Invalid argument: 'a:b'"):
        Sharing(ways).place(source, tmp_path / "a:b")


def test_permission_bits_that_cannot_be_changed_are_an_error_not_a_missing_way(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", "program")

    source.chmod(0o555)
    monkeypatch.setattr(os, "chmod", refuse)
    for ways in (EDITABLE, WAYS[LinkMode.COPY]):
        with pytest.raises(OSError, match="not permitted: 'program'"):
            Sharing(ways).place(source, tmp_path / str(ways))
    # what is no program needs none
    source = tmp_path / "plain"
    source.touch()
    Sharing(EDITABLE).place(source, tmp_path / "target")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("way", [LinkMode.REFLINK, LinkMode.COPY])
def test_permission_bits_are_those_that_pip_gives_and_times_the_stores(
    system: System,
    source: Path,
    tmp_path: Path,
    umask: Callable[[int], int],
    mask: int,
    way: LinkMode,
) -> None:
    umask(mask)
    sharing = Sharing(WAYS[way])
    for stored, wanted in ((0o444, 0o666 & ~mask), (0o555, 0o777 & ~mask | 0o111)):
        target = tmp_path / f"{stored}"
        source.chmod(stored)
        sharing.place(source, target)
        status = target.stat()
        assert stat.S_IMODE(status.st_mode) == wanted
        assert status.st_mtime_ns == OLD


def test_a_hard_link_leaves_the_stores_file_as_it_is(
    source: Path, tmp_path: Path
) -> None:
    before = source.stat()
    Sharing(WAYS[LinkMode.HARDLINK]).place(source, tmp_path / "target")
    after = source.stat()
    assert after.st_mode == before.st_mode
    assert after.st_mtime_ns == OLD


@pytest.mark.parametrize("mode", list(WAYS))
def test_nothing_is_written_over(
    system: System, source: Path, tmp_path: Path, mode: LinkMode
) -> None:
    target = tmp_path / "target"
    target.write_text("of somebody else")
    with pytest.raises(FileExistsError):
        Sharing(WAYS[mode]).place(source, target)
    assert target.read_text() == "of somebody else"


def test_a_reflink_that_fails_leaves_nothing(
    system: System, source: Path, tmp_path: Path
) -> None:
    system.fails = {"reflink": errno.EOPNOTSUPP}
    with pytest.raises(OSError, match="not supported"):
        sharing.reflink(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("code", [0, *NEVER])
def test_what_the_kernel_does_not_copy_is_copied_without_it(
    system: System, tmp_path: Path, size: int, code: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    if code:
        system.fails = {"copy": code}
    sharing.copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert system.asked == (["copy"] if size else [])


def test_what_the_kernel_leaves_off_is_copied_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As of files that have no end of their own, or over a network."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(100_000))
    steps = iter([30_000, 20_000, 0])
    real = os.copy_file_range

    def some(one: int, other: int, count: int) -> int:
        assert count <= 100_000
        step = next(steps)
        return real(one, other, step) if step else 0

    monkeypatch.setattr(os, "copy_file_range", some)
    sharing.copy(source, target)
    assert target.read_bytes() == source.read_bytes()


def test_a_system_without_a_copy_of_its_own(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "copy_file_range")
    sharing.copy(source, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == CONTENT
