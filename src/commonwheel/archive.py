"""Archives: a folder as one file, which is the same whoever makes it, where and when.

Names are sorted; owners, times and permission bits are not the folder's: everything
belongs to the superuser, has one time, and may be read by all. What may differ is how a
compressor of another version compresses; ``.tar`` has none.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from commonwheel import files
from commonwheel.errors import InvalidSetting
from commonwheel.export_errors import ProgramFailed, ProgramMissing

TIME = 315532800
"""Of all files unless another is wanted, in seconds since the epoch: 1980-01-01, before
which some archives have no time."""

_PROGRAM = 0o755
"""Also of a folder."""
_FILE = 0o644
_LEVEL = 6
_ID = "00000000-0000-0000-0000-000000000000"
"""Of a filesystem; a random one would make each another file."""


def is_archive(path: Path) -> bool:
    """Whether :func:`write` knows by a name what to write."""
    return any(path.name.endswith(suffix) for suffix in _WRITERS)


def is_tar(path: Path) -> bool:
    """Whether it is one whose members can lie in a folder of it."""
    return any(path.name.endswith(suffix) for suffix in _TARS)


def write(
    folder: Path, target: Path, *, below: str = "", time: int = TIME, sealed: bool = False
) -> None:
    """Write what is in ``folder`` to the archive ``target``, of the kind of its name.

    In a tar archive it is ``below`` a folder. The folders above that are not members: it
    is not ours to say how they are where the archive is unpacked. ``sealed``: nobody may
    write to what is unpacked. What was at ``target`` is replaced at the end.

    :raises InvalidSetting: the name says no kind of archive
    :raises ProgramMissing: it takes a program that is not there
    :raises ProgramFailed: that fails
    :raises OSError: the folder cannot be read, or the archive not written
    """
    kind = next((s for s in _WRITERS if target.name.endswith(s)), None)
    if kind is None:
        known = ", ".join(_WRITERS)
        raise InvalidSetting(
            "an archive", str(target), f"its name ends with none of {known}"
        )
    with files.staging(target.parent, f".{target.name}.") as staged:
        made = staged / target.name
        _WRITERS[kind](folder, made, below.strip("/"), time, sealed)
        made.chmod(0o666 & ~_umask())
        os.replace(made, target)


def _tar(folder: Path, target: Path, below: str, time: int, sealed: bool) -> None:
    with open(target, "wb") as file:
        _write_tar(folder, file, below, time, sealed)


def _tar_gzip(folder: Path, target: Path, below: str, time: int, sealed: bool) -> None:
    with (
        open(target, "wb") as file,
        # neither name nor time in its header
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as compressed,
    ):
        _write_tar(folder, compressed, below, time, sealed)


def _tar_zstd(folder: Path, target: Path, below: str, time: int, sealed: bool) -> None:
    program = _program("zstd", "zstd")
    # one thread: how many there are would decide where blocks end
    command = [program, "--quiet", "--single-thread", "-10", "-o", str(target)]
    with _fed(command) as pipe:
        _write_tar(folder, pipe, below, time, sealed)


@contextmanager
def _fed(command: list[str]) -> Iterator[IO[bytes]]:
    """What is written is read by a program.

    :raises ProgramFailed: it fails
    """
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended; it says why
        said = process.stderr.read()
        if process.wait() != 0:
            raise ProgramFailed(Path(command[0]).name, _last_line(said))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()


def _write_tar(
    folder: Path, target: IO[bytes] | gzip.GzipFile, below: str, time: int, sealed: bool
) -> None:
    """Write a tar archive (pax, which is ustar with long names) without seeking."""
    import tarfile  # noqa: PLC0415  3 ms at the start of every command

    with tarfile.open(
        fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8"
    ) as archive:
        for name, path in members(folder):
            status = os.lstat(path)
            member = tarfile.TarInfo(f"{below}/{name}" if below else name)
            member.mtime = time
            member.mode = _mode(status.st_mode, sealed)
            if stat.S_ISLNK(status.st_mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
                archive.addfile(member)
            elif stat.S_ISDIR(status.st_mode):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = status.st_size
                with open(path, "rb") as file:
                    archive.addfile(member, file)


def members(folder: Path) -> Iterator[tuple[str, str]]:
    """All that is in ``folder``, sorted: relative path with ``/``, and path."""
    found: list[tuple[str, str]] = []
    for current, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(current, name)
            found.append((os.path.relpath(path, folder).replace(os.sep, "/"), path))
    # by bytes, so that no locale has a say
    yield from sorted(found, key=lambda each: os.fsencode(each[0]))


def _mode(mode: int, sealed: bool) -> int:
    if stat.S_ISLNK(mode):
        return 0o777
    wanted = _PROGRAM if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else _FILE
    return wanted & ~0o222 if sealed else wanted


def _squashfs(folder: Path, target: Path, _: str, time: int, sealed: bool) -> None:
    """A filesystem that can be mounted, compressed."""
    command = [
        *(_program("mksquashfs", "squashfs-tools"), str(folder), str(target)),
        *("-noappend", "-quiet", "-no-progress", "-all-root", "-no-xattrs"),
        *("-mkfs-time", str(time), "-all-time", str(time)),
    ]
    _run(command)


def _erofs(folder: Path, target: Path, _: str, time: int, sealed: bool) -> None:
    """A filesystem that can be mounted, not compressed."""
    command = [
        *(_program("mkfs.erofs", "erofs-utils"), "--quiet", "-x-1", "--all-root"),
        *(f"-T{time}", "-U", _ID, str(target), str(folder)),
    ]
    _run(command)


_Writer = Callable[[Path, Path, str, int, bool], None]
_TARS: dict[str, _Writer] = {
    ".tar": _tar,
    ".tar.gz": _tar_gzip,
    ".tgz": _tar_gzip,
    ".tar.zst": _tar_zstd,
}
_WRITERS: dict[str, _Writer] = {**_TARS, ".squashfs": _squashfs, ".erofs": _erofs}


def _program(name: str, package: str) -> str:
    """:raises ProgramMissing: it is not on PATH"""
    found = shutil.which(name)
    if found is None and sys.platform != "win32":
        # programs for administrators are not on everybody's PATH
        found = shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise ProgramMissing(name, package)
    return found


def _run(command: list[str]) -> None:
    """:raises ProgramFailed: it fails"""
    # mksquashfs and mkfs.erofs take their times from there, and refuse to be told twice
    variables = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(command, capture_output=True, check=False, env=variables)
    if done.returncode != 0:
        raise ProgramFailed(Path(command[0]).name, _last_line(done.stderr or done.stdout))


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it does not say why"


def _umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
