"""Locks: waiting for one with patience, knowing who has it, and having one alone.

All locks are ``flock(2)``. A lock ends with the process that holds it, whatever ends
that; programs that it starts do not inherit it (:pep:`446`), and neither do the children
that it forks. A file that may be removed while somebody waits for it is an
:class:`Exclusion`, which looks whether what it locked is still there; a
:class:`LockFile` stays. Nothing depends on the number of a process, which containers
share: those only help to name who is waited for.
"""

from __future__ import annotations

import errno
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from commonwheel.errors import Busy

if sys.platform != "win32":
    import fcntl

PATIENCE = 900.0
"""Seconds that others are waited for, if nothing is said."""
_STEP = 0.05
"""Seconds between two looks whether a lock is free. The same for all who wait, however
long they have: so each of them has the same chance."""
_SILENCE = 3.0
"""Seconds of waiting after which it is said for whom."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def _nobody(line: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Patience:
    """How long others are waited for, and who is told of it."""

    seconds: float = PATIENCE
    """0: they are not waited for."""
    tell: Callable[[str], object] = _nobody
    """Called once with a line for a person, if it takes long."""


class Wait:
    """Waiting for something that somebody else is at: for one lock of it, or several."""

    def __init__(self, error: type[Busy], path: Path, patience: Patience) -> None:
        """It begins now; at the end of ``patience`` ``error`` says who uses ``path``."""
        self._error = error
        self._path = path
        self._patience = patience
        self._begin = time.monotonic()
        self._silent = True

    def until(self, attempt: Callable[[], bool], *locks: Path) -> None:
        """Try until ``attempt`` succeeds; the first of ``locks`` that is held says why.

        :raises Busy: it did not in time
        """
        while not attempt():
            waited = time.monotonic() - self._begin
            if waited >= self._patience.seconds:
                raise self._error(self._path, holders(*locks), waited)
            if self._silent and waited >= _SILENCE:
                self._silent = False
                self._patience.tell(self._error(self._path, holders(*locks)).waiting)
            time.sleep(min(_STEP, self._patience.seconds - waited))


class LockFile:
    """An open file that a lock is taken of, shared or alone. Children let go of it."""

    def __init__(self, path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> None:
        """:raises OSError: it cannot be opened"""
        self._path = path
        self._descriptor: int | None = _open(path, flags)
        _OPEN.add(self)

    @property
    def is_open(self) -> bool:
        """Whether it is, and by this process."""
        return self._descriptor is not None

    def try_to_lock(self, *, shared: bool = False) -> bool:
        """Lock it, unless somebody else's lock is in the way.

        :raises OSError: the filesystem has no locks
        """
        if sys.platform == "win32" or self._descriptor is None:
            return False
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            with explaining(self._path):
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give the lock up, also if a child that nobody told still has the file."""
        if self._descriptor is not None:
            if sys.platform != "win32":
                with suppress(OSError):  # closing it does the same
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._let_go()

    def _let_go(self) -> None:
        """Close it, which is no more than that in a child: the lock is the parent's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(path: Path, flags: int) -> int:
    """The file itself, not where a link leads that somebody has put in its place.

    It is made only if there is none: where several users write, one that is another's
    may not even be opened as if to make it, see ``protected_regular`` in
    https://docs.kernel.org/admin-guide/sysctl/fs.html

    :raises OSError: it cannot be opened
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    there = flags & ~os.O_CREAT
    try:
        return os.open(path, there)
    except FileNotFoundError:
        if there == flags:
            raise
    try:
        return os.open(path, flags | os.O_EXCL, 0o644)
    except FileExistsError:  # somebody made it meanwhile
        return os.open(path, there)


_OPEN: weakref.WeakSet[LockFile] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    for each in list(_OPEN):
        each._let_go()  # noqa: SLF001  of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


class Exclusion:
    """A lock that one process has alone, and each of its threads for itself.

    A child that is forked meanwhile does not have it, and cannot give it up.
    """

    def __init__(self, path: Path, wait: Wait, mode: int | None = None) -> None:
        """``path`` is the lock's file, made with permission bits ``mode`` if it is new.

        Without a ``mode`` the umask decides.
        """
        self._path = path
        self._wait = wait
        if mode is None:
            self._lock = FileLock(path, fallback_to_soft=False)
        else:
            self._lock = FileLock(path, mode=mode, fallback_to_soft=False)

    @property
    def is_held(self) -> bool:
        """Whether this process has it, by this object."""
        return self._lock.is_locked

    def try_to_acquire(self) -> bool:
        """Take it, unless somebody has it. Its folder is made if it is not there.

        :raises OSError: its folder cannot be written, or the filesystem has no locks
        """
        try:
            with explaining(self._path):
                self._lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError):
            return False  # who had it may just have removed its folder
        except FileExistsError:
            # so pathlib says, too, if a folder goes while it looks whether it is one
            folder = self._path.parent
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            return False
        return True

    def acquire(self) -> None:
        """Take it when it is free.

        :raises Busy: somebody had it for too long
        :raises OSError: its folder cannot be written, or the filesystem has no locks
        """
        self._wait.until(self.try_to_acquire, self._path)

    def release(self) -> None:
        """Give it up, if it is held."""
        self._lock.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While this lasts, nobody else has it; see :meth:`acquire`."""
        self.acquire()
        try:
            yield
        finally:
            self.release()


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Say of a filesystem without locks that this is what is wrong."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        reason = f"its filesystem gives no locks: {os.strerror(error.errno)}"
        raise OSError(error.errno, reason, str(path)) from error


def holders(*locks: Path) -> tuple[str, ...]:
    """The processes that hold the first of the lock files that anybody holds.

    As far as the system tells (``proc_locks(5)``): of processes of other machines, and
    of containers beside this one, it does not.
    """
    return next(filter(None, map(_holders, locks)), ())


def _holders(path: Path) -> tuple[str, ...]:
    try:
        status = path.stat()
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return ()
    inode = f":{status.st_ino}"
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    found = {
        (row[5], row[4])
        for row in rows
        if row[1] == "FLOCK" and row[5].endswith(inode)  # not "->", who only waits
    }
    # of a filesystem of several devices (btrfs) another one is told
    exact = {pid for place, pid in found if place == f"{device}{inode}"}
    pids = exact or {pid for _, pid in found}
    return tuple(f"{_program(pid)} (process {pid})" for pid in sorted(pids, key=int))


def _program(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a program"
