"""Who is in a store: many may use it at a time, or one alone clears it out.

A plain shared lock lets whoever wants to be alone starve as long as others come and go.
So everybody passes a turnstile first, and who wants to be alone keeps it closed behind
them: those inside leave, nobody else comes in. Locks are held while something is
installed, never for a program's life, and end with the process that holds them.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonwheel.errors import StoreBusy

if sys.platform != "win32":
    import fcntl

_USE = "use.lock"
_TURNSTILE = "turnstile.lock"
_STEP = 0.05
"""Seconds between two looks whether everybody has left."""


class Occupancy:
    """The locks of a store; they may be taken again by who has them already."""

    def __init__(self, store: Path, folder: Path) -> None:
        """``folder`` is that of the store's lock files, if it is there."""
        self._store = store
        self._folder = folder
        self._held: int | None = None

    @property
    def is_inside(self) -> bool:
        """Whether one of the locks is held here."""
        return self._held is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """The lock files."""
        return self._folder / _TURNSTILE, self._folder / _USE

    @contextmanager
    def using(self) -> Iterator[None]:
        """While this lasts, nothing is taken out of the store.

        A store that cannot be written, and has no lock files, cannot be cleared out
        either.

        :raises OSError: the filesystem has no locks
        """
        if self.is_inside:
            yield
            return
        self._held = self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """While this lasts, nobody else uses the store; waits ``patience`` seconds.

        :raises StoreBusy: somebody was in it all the time; says who
        :raises OSError: the filesystem has no locks, or the lock files cannot be written
        """
        if sys.platform == "win32":
            raise OSError(errno.ENOSYS, "no shared locks on this system")
        deadline = time.monotonic() + patience
        turnstile = os.open(self._folder / _TURNSTILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock_until(deadline, turnstile, _TURNSTILE)
            self._held = os.open(self._folder / _USE, os.O_RDWR | os.O_CREAT, 0o644)
            self._lock_until(deadline, self._held, _USE)
            yield
        finally:
            self._leave()
            os.close(turnstile)

    def _leave(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _enter(self) -> int | None:
        """Lock the store for use; None if it has no lock that could be taken."""
        if sys.platform == "win32":
            return None
        turnstile = self._open(_TURNSTILE)
        if turnstile is None:
            return None
        try:
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            use = self._open(_USE)
            if use is not None:
                fcntl.flock(use, fcntl.LOCK_SH)
            return use
        finally:
            os.close(turnstile)

    def _open(self, name: str) -> int | None:
        path = self._folder / name
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            try:
                return os.open(path, flags, 0o644)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                    raise
        return None

    def _lock_until(self, deadline: float, descriptor: int, name: str) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holders = _holders(self._folder / name)
                    raise StoreBusy(self._store, holders) from None
                time.sleep(_STEP)
            else:
                return


def _holders(path: Path) -> tuple[str, ...]:
    """The processes that hold a lock, as far as the system tells (``proc_locks(5)``).

    Of processes of other machines and containers it does not.
    """
    try:
        inode = f":{path.stat().st_ino}"
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return ()
    found = {row[4] for row in rows if row[1] == "FLOCK" and row[5].endswith(inode)}
    return tuple(f"{_program(pid)} (process {pid})" for pid in sorted(found))


def _program(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a program"
