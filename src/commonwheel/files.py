"""Writing files so that nobody ever sees half of one.

Everything commonwheel leaves on disk is written under another name first and
published by a rename.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

READ_ONLY_FILE = 0o444
READ_ONLY_PROGRAM = 0o555
READ_ONLY_FOLDER = 0o555
_NEW = ".new"
_UNFINISHED = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_NEW)}", re.DOTALL)
"""What :func:`tempfile.mkstemp` makes of them."""
_FOR_THE_OWNER_TO_WRITE = 0o644
"""Whatever the umask allows beyond that."""


def write_atomically(path: Path, data: bytes, mode: int) -> None:
    """Write ``data`` to ``path`` with permission bits ``mode``, replacing by a rename.

    The data is on the disk before the name is: a power cut leaves no empty file.

    :raises OSError: the folder is missing, full or not writable; ``path`` is as before
    """
    handle, temporary = tempfile.mkstemp(_NEW, f".{path.name}.", path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def is_unfinished(name: str) -> bool:
    """Whether :func:`write_atomically` leaves such a name if its process is killed."""
    return _UNFINISHED.fullmatch(name) is not None


def read(
    path: str | Path, believes: Callable[[os.stat_result], bool] = lambda _: True
) -> bytes:
    """The content of a file that somebody else may have put there.

    Nothing else is read, which could be there to be waited for.

    :raises OSError: it cannot be read, is no file, or ``believes`` says no
    """
    with _open_file(path, os.O_RDONLY, believes) as file:
        return file.read()


def open_to_read(path: Path) -> BinaryIO:
    """The file ``path``, to read; nothing is waited for that may be there instead.

    :raises OSError: it cannot be read, or is no file
    """
    return io.BufferedReader(_open_file(path, os.O_RDONLY, lambda _: True))


def open_to_append(
    path: Path, believes: Callable[[os.stat_result], bool] = lambda _: True
) -> BinaryIO:
    """The file ``path``, to write to its end: itself, not where a link leads.

    Each write is one of the system's: lines of two processes never mix.

    :raises OSError: it cannot be written, is no file, or ``believes`` says no
    """
    flags = os.O_WRONLY | os.O_APPEND | _ITSELF
    try:
        return _open_file(path, flags, believes)
    except FileNotFoundError:
        pass
    try:
        return _open_file(path, flags | os.O_CREAT | os.O_EXCL, believes)
    except FileExistsError:  # somebody made it meanwhile
        return _open_file(path, flags, believes)


def _open_file(
    path: str | Path, flags: int, believes: Callable[[os.stat_result], bool]
) -> io.FileIO:
    descriptor = os.open(path, flags | _AT_ONCE, _FOR_THE_OWNER_TO_WRITE)
    try:
        status = os.fstat(descriptor)
        check_kind(path, status)
        if not believes(status):
            raise PermissionError(errno.EPERM, "it is not to be trusted", str(path))
        return open(descriptor, "ab" if flags & os.O_APPEND else "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def check_kind(path: str | Path, status: os.stat_result) -> None:
    """Check that what the system says of ``path`` is said of a file.

    :raises PermissionError: it is a folder, a pipe, a device
    """
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError(errno.EPERM, "it is not a file", str(path))


def touch(path: Path) -> None:
    """Make an empty file, or set its time to now: its own, not that of a link's target.

    :raises OSError: it cannot be made, or changed
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(os.open(path, flags, _FOR_THE_OWNER_TO_WRITE))
    except FileExistsError:
        os.utime(path, follow_symlinks=False)


def publish(staged: Path, destination: Path) -> None:
    """Rename the folder ``staged`` to ``destination``, which must not exist.

    A plain ``rename`` replaces an *empty* folder, so it is told not to
    (``RENAME_NOREPLACE``, ``renameat2(2)``). Where it cannot be told, ours are never
    empty, and that is refused with ``EEXIST`` (xfs) or ``ENOTEMPTY`` (others).

    :raises FileExistsError: somebody published ``destination`` first
    """
    try:
        if not _rename(staged, destination, _RENAME_NOREPLACE):
            os.rename(staged, destination)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise FileExistsError(errno.EEXIST, "exists", str(destination)) from error
        raise


@contextmanager
def staging(parent: Path, prefix: str = "") -> Iterator[Path]:
    """A new private folder in ``parent``; what is left in it at the end is removed."""
    # The name is known before the folder is made: Ctrl-C can come in between.
    folder = parent / f"{prefix}{os.urandom(8).hex()}"
    try:
        folder.mkdir(mode=stat.S_IRWXU)
        yield folder
    finally:
        discard(folder)


def remove_tree(folder: Path) -> None:
    """Remove ``folder`` and all that is in it, read-only folders too; follows no links.

    Only root may delete from a read-only folder without asking for the right first.
    """
    if hasattr(os, "fwalk"):
        # not by names: whoever else may write there could put a link in a folder's place
        for _, _, _, descriptor in os.fwalk(folder):
            os.fchmod(descriptor, stat.S_IRWXU)
    else:
        for current, _, _ in os.walk(folder):
            os.chmod(current, stat.S_IRWXU)
    shutil.rmtree(folder)


def discard(folder: Path) -> None:
    """Remove a folder that nobody needs any more, as far as that is possible.

    An error in this says nothing of what was done with the folder. Ctrl-C waits.
    """
    try:
        remove_tree(folder)
    except OSError:
        pass
    except KeyboardInterrupt:
        with suppress(OSError):
            remove_tree(folder)
        raise


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()


def move(source: Path, target: Path, prefix: str = ".commonwheel-") -> None:
    """Rename ``source`` to ``target``, where nothing is; copy it if it has to be copied.

    That is between filesystems, and for a folder in a lower layer of an overlay.
    Whatever stops it, what is found at ``target`` is complete; beside it is what was
    copied until then, in a folder whose name begins with ``prefix``.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with staging(target.parent, prefix) as staged:
            copy = staged / "copy"
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, copy, symlinks=True)
            else:
                shutil.copy2(source, copy, follow_symlinks=False)
            sync_filesystem(staged)
            os.rename(copy, target)
        remove(source)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` at the end; or nothing does.

    :raises FileExistsError: there is something at ``target``, but an empty folder
    :raises OSError: it cannot be made
    """
    there = os.path.lexists(target)
    if there and (not target.is_dir() or os.listdir(target)):
        raise FileExistsError(errno.EEXIST, "there is something already", str(target))
    missing = [each for each in target.parents if not each.exists()]
    with ExitStack() as undo:
        for each in reversed(missing):
            undo.callback(_remove_if_empty, each)
            each.mkdir(exist_ok=True)
        # an empty folder may be a mount point, or have owners that were chosen
        parent = target if there else target.parent
        with staging(parent, f".{target.name}.") as staged:
            filled = staged / target.name
            filled.mkdir()
            yield filled
            if there:
                _move_all(filled, target)
            else:
                os.rename(filled, target)
        undo.pop_all()


def _move_all(source: Path, target: Path) -> None:
    moved: list[Path] = []
    try:
        for name in os.listdir(source):
            moved.append(target / name)
            os.rename(source / name, target / name)
    except BaseException:
        for each in moved:
            if os.path.lexists(each):
                remove(each)
        raise


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not os.listdir(folder):
        folder.rmdir()


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or filesystem cannot.

    :raises OSError: it can, but was not allowed to
    """
    return _rename(one, other, _RENAME_EXCHANGE)


def _rename(source: Path, target: Path, flag: int) -> bool:
    """Rename as ``renameat2(2)`` does; False where there is no such thing.

    :raises OSError: there is, but it was refused
    """
    if _renameat2 is None:
        return False
    sys.audit("os.rename", source, target, -1, -1)  # as for any other rename
    names = os.fsencode(source), os.fsencode(target)
    if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))


def seal(tree: Path, folder_mode: int = READ_ONLY_FOLDER) -> None:
    """Make every folder and file below ``tree`` read-only, by explicit mode, not umask.

    A file that is executable by its owner stays executable, for all.
    """
    for current, _, files in os.walk(tree, topdown=False):
        for name in files:
            path = os.path.join(current, name)
            program = os.stat(path).st_mode & stat.S_IXUSR
            os.chmod(path, READ_ONLY_PROGRAM if program else READ_ONLY_FILE)
        os.chmod(current, folder_mode)


def merge(source: Path, target: Path) -> None:
    """Move the files below ``source`` to the same places below ``target``, by renames.

    ``target`` is a sealed tree on the same filesystem; its folders are made writable
    only while a name is added, and the files are sealed.
    """
    sealed = stat.S_IMODE(target.stat().st_mode) & ~stat.S_IWUSR
    for current, _, names in os.walk(source):
        if names:
            folder = target / os.path.relpath(current, source)
            with _writable(folder.parent, sealed):
                folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
            with _writable(folder, sealed):
                for name in names:
                    os.chmod(os.path.join(current, name), READ_ONLY_FILE)
                    os.replace(os.path.join(current, name), folder / name)


@contextmanager
def _writable(folder: Path, sealed: int) -> Iterator[None]:
    """While this lasts, names can be added, whatever a killed process has left."""
    folder.chmod(sealed | stat.S_IWUSR)
    try:
        yield
    finally:
        folder.chmod(sealed)


def sync_filesystem(path: Path) -> None:
    """Wait until all data of the filesystem that holds ``path`` is on the disk.

    A rename that reaches the disk before the data it publishes leaves empty files
    after a power cut; one ``syncfs(2)`` is a fraction of the cost of ``fsync`` on
    each of thousands of files. Where there is no ``syncfs``, ``sync(2)`` does more.

    :raises OSError: the filesystem reports that data was lost
    """
    if _syncfs is None:
        if hasattr(os, "sync"):
            os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` (a rename into it) are on the disk."""
    if sys.platform == "win32":
        return  # folders cannot be opened for that there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Bound when the module loads: pip blocks imports while it installs, and the first
# use of a foreign function may import.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_syncfs = getattr(_libc, "syncfs", None)
_renameat2 = getattr(_libc, "renameat2", None)
_ITSELF = getattr(os, "O_NOFOLLOW", 0)
"""A link is not followed."""
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Nobody is waited for who is to open the other end."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
