"""Writing files so that nobody ever sees half of one.

Everything commonwheel leaves on disk is written under another name first and
published by a rename.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

READ_ONLY_FILE = 0o444
READ_ONLY_PROGRAM = 0o555
READ_ONLY_FOLDER = 0o555


def write_atomically(path: Path, data: bytes, mode: int) -> None:
    """Write ``data`` to ``path`` with permission bits ``mode``, replacing by a rename.

    The data is on the disk before the name is: a power cut leaves no empty file.

    :raises OSError: the folder is missing, full or not writable; ``path`` is as before
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def publish(staged: Path, destination: Path) -> None:
    """Rename the folder ``staged`` to ``destination``, which must not exist.

    A plain ``rename`` replaces an *empty* folder; ours are never empty, so it is
    refused by every filesystem, with ``EEXIST`` (xfs) or ``ENOTEMPTY`` (others).

    :raises FileExistsError: somebody published ``destination`` first
    """
    try:
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


def move(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, where nothing is; copy it if it has to be copied.

    That is between filesystems, and for a folder in a lower layer of an overlay.
    Whatever stops it, what is found at ``target`` is complete.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with staging(target.parent, ".commonwheel-") as staged:
            copy = staged / "copy"
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, copy, symlinks=True)
            else:
                shutil.copy2(source, copy, follow_symlinks=False)
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
    if _renameat2 is None:
        return False
    sys.audit("os.rename", one, other, -1, -1)  # as for any other rename
    names = os.fsencode(one), os.fsencode(other)
    if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), os.fspath(one), None, os.fspath(other))


def seal(tree: Path) -> None:
    """Make every folder and file below ``tree`` read-only, by explicit mode, not umask.

    A file that is executable by its owner stays executable, for all.
    """
    for current, _, files in os.walk(tree, topdown=False):
        for name in files:
            path = os.path.join(current, name)
            program = os.stat(path).st_mode & stat.S_IXUSR
            os.chmod(path, READ_ONLY_PROGRAM if program else READ_ONLY_FILE)
        os.chmod(current, READ_ONLY_FOLDER)


def merge(source: Path, target: Path) -> None:
    """Move the files below ``source`` to the same places below ``target``, by renames.

    ``target`` is a sealed tree on the same filesystem; its folders are made writable
    only while a name is added, and the files are sealed.
    """
    for current, _, names in os.walk(source):
        folder = target / os.path.relpath(current, source)
        if names and not folder.exists():
            with _writable(folder.parent):
                folder.mkdir()
                folder.chmod(READ_ONLY_FOLDER)
        if names:
            with _writable(folder):
                for name in names:
                    os.chmod(os.path.join(current, name), READ_ONLY_FILE)
                    os.replace(os.path.join(current, name), folder / name)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    mode = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(mode | stat.S_IWUSR)
    try:
        yield
    finally:
        folder.chmod(mode)


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
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
