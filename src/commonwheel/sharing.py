"""Sharing: how a file of the store becomes a real file elsewhere.

What a filesystem can do is found out on the first file, never probed before: a probe
answers for another file, another folder or another moment.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from commonwheel.errors import LinkModeUnavailable
from commonwheel.link_mode import LinkMode

if sys.platform != "win32":
    import fcntl

WAYS = {
    LinkMode.AUTO: (LinkMode.REFLINK, LinkMode.HARDLINK, LinkMode.COPY),
    LinkMode.REFLINK: (LinkMode.REFLINK,),
    LinkMode.HARDLINK: (LinkMode.HARDLINK,),
    LinkMode.COPY: (LinkMode.COPY,),
}
"""What a link mode may come to, the best first."""
EDITABLE = (LinkMode.REFLINK, LinkMode.COPY)
"""The ways for a file that may be edited in place: a hard link would change the store."""

_CANNOT = frozenset(
    {
        errno.EXDEV,
        errno.EOPNOTSUPP,
        errno.ENOTSUP,
        errno.ENOTTY,  # the filesystem does not know the request
        errno.ENOSYS,
        errno.EINVAL,
        errno.EPERM,  # hard links: a filesystem without, or somebody else's file
    }
)
"""What a system answers when a way does not work here, whatever the file."""


class Sharing:
    """Makes files that are the store's, or like them, by the first way that works."""

    def __init__(self, ways: Iterable[LinkMode]) -> None:
        """``ways``: what may be tried, the best first."""
        self._ways = list(ways)
        _, self._program_mode = file_modes()
        self.reason = ""
        """Why the ways before :attr:`used` do not work."""

    @property
    def used(self) -> LinkMode:
        """The way that files are made by now."""
        return self._ways[0]

    def place(self, source: Path, target: Path) -> None:
        """Make ``target``, which is not there, a file like ``source``.

        A hard link has the store's permission bits; other files have those that pip
        gives a file of a wheel, and the times of ``source``.

        :raises LinkModeUnavailable: the only way that was allowed does not work
        :raises OSError: the folder is missing, full or not writable
        """
        way = self._share(source, target)
        if way is LinkMode.COPY:
            copy(source, target)
        if way is not LinkMode.HARDLINK:
            self._finish(source, target)

    def _share(self, source: Path, target: Path) -> LinkMode:
        """Make ``target`` by a link; returns by which, or that it has to be a copy."""
        while self.used is not LinkMode.COPY:
            try:
                if self.used is LinkMode.HARDLINK:
                    os.link(source, target)
                else:
                    reflink(source, target)
            except OSError as error:
                if error.errno == errno.EMLINK:
                    return LinkMode.COPY  # of this one file there are links enough
                if error.errno not in _CANNOT:
                    raise
                self._give_up(error, source, target)
            else:
                break
        return self.used

    def _finish(self, source: Path, target: Path) -> None:
        """Give a file that was made what it has beside its data.

        Only a program needs a change of its permission bits: what others have is the
        folder's affair, which may have a default of its own (``acl(5)``).
        """
        status = os.stat(source)
        if status.st_mode & stat.S_IXUSR:
            os.chmod(target, self._program_mode)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _give_up(self, error: OSError, source: Path, target: Path) -> None:
        """Go on with the next way, if there is one."""
        reason = error.strerror or str(error)
        if error.errno == errno.EXDEV:
            reason = "the store is on another filesystem"
        if len(self._ways) == 1:
            mode = self.used.value
            raise LinkModeUnavailable(mode, source, target, reason) from error
        self.reason = reason
        del self._ways[0]


def file_modes() -> tuple[int, int]:
    """The permission bits that pip gives a file, and a program, of a wheel.

    A program may be run whatever the umask says.
    """
    umask = os.umask(0o022)
    os.umask(umask)
    return 0o666 & ~umask, 0o777 & ~umask | 0o111


def reflink(source: Path, target: Path) -> None:
    """Make ``target`` a file that shares the data of ``source``, holes included.

    ``FICLONE`` (``ioctl_ficlone(2)``) of btrfs, xfs and others; ``clonefile(2)`` of
    macOS, which is untested.

    :raises OSError: the filesystem cannot, or the two are on different ones; ``target``
        is not there
    """
    if sys.platform == "darwin":
        if _clonefile is None or _clonefile(os.fsencode(source), os.fsencode(target), 0):
            code = ctypes.get_errno() or errno.ENOSYS
            raise OSError(code, os.strerror(code), str(target))
        os.chmod(target, file_modes()[0])  # it has the store's
        return
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "no reflinks on this system", str(target))
    with open(source, "rb") as read, open(target, "xb") as written:
        try:
            fcntl.ioctl(written, _FICLONE, read.fileno())
        except OSError as error:
            os.unlink(target)
            raise OSError(error.errno, error.strerror, str(target)) from error


def copy(source: Path, target: Path) -> None:
    """Make ``target`` a copy of ``source``, by the kernel where it can.

    ``copy_file_range(2)`` lets the filesystem or its server do the work.

    :raises OSError: ``target`` is there, or its folder full or not writable
    """
    with open(source, "rb") as read, open(target, "xb") as to:
        left = os.fstat(read.fileno()).st_size
        while left > 0:
            done = _copy_range(read.fileno(), to.fileno(), left)
            if not done:
                break
            left -= done
        if left:
            # from where the kernel has stopped: both files stand there
            shutil.copyfileobj(read, to)


def _copy_range(source: int, target: int, count: int) -> int:
    """How many bytes the kernel has copied; 0 where it cannot."""
    if not hasattr(os, "copy_file_range"):
        return 0
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return 0


_FICLONE = 0x40049409
"""``_IOW(0x94, 9, int)``; another number on mips, powerpc and sparc, which have no
reflinks then."""
_clonefile = (
    getattr(ctypes.CDLL(None, use_errno=True), "clonefile", None)
    if sys.platform == "darwin"
    else None
)
