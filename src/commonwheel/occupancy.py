"""Who is in a store: many may use it at a time, or one alone clears it out.

A plain shared lock lets whoever wants to be alone starve as long as others come and go.
So everybody passes a turnstile first, and who wants to be alone keeps it closed behind
them: those inside leave, nobody else comes in. And whoever comes back at once, to be
alone again, would always find the turnstile free before those do who look at it from time
to time. So there is a queue before it with room for one, who goes through it next.

Locks are held while something is installed, never for a program's life, and end with the
process that holds them.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from commonwheel.errors import StoreBusy
from commonwheel.exclusion import LockFile, Patience, Wait

_USE = "use.lock"
_TURNSTILE = "turnstile.lock"
_QUEUE = "queue.lock"


class Occupancy:
    """The locks of a store; they may be taken again by the thread that has them."""

    def __init__(
        self,
        store: Path,
        folder: Path,
        patience: Patience = Patience(),  # noqa: B008  frozen
    ) -> None:
        """``folder`` is that of the store's lock files, if it is there."""
        self._store = store
        self._folder = folder
        self._patience = patience
        self._mine = threading.local()

    @property
    def is_inside(self) -> bool:
        """Whether one of the locks is held by this thread.

        That is not so in a child that was forked by a process inside: the parent may
        leave without it.
        """
        held: LockFile | None = getattr(self._mine, "held", None)
        return held is not None and held.is_open

    @property
    def files(self) -> tuple[Path, ...]:
        """The lock files."""
        return tuple(self._folder / name for name in (_QUEUE, _TURNSTILE, _USE))

    @contextmanager
    def using(self) -> Iterator[None]:
        """While this lasts, nothing is taken out of the store.

        A store that cannot be written, and has no lock files, cannot be cleared out
        either.

        :raises StoreBusy: somebody was alone in it for too long; says who
        :raises OSError: the filesystem has no locks
        """
        if self.is_inside:
            yield
            return
        use = self._open(_USE)
        if use is None:
            yield
            return
        try:
            with ExitStack() as entering:
                wait = Wait(StoreBusy, self._store, self._patience)
                self._pass(wait, entering)
                wait.until(lambda: use.try_to_lock(shared=True), self._folder / _USE)
            self._mine.held = use
            yield
        finally:
            use.close()

    @contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """While this lasts, nobody else uses the store; waits ``patience`` seconds.

        :raises StoreBusy: somebody was in it all the time; says who
        :raises OSError: the filesystem has no locks, or the lock files cannot be written
        """
        if sys.platform == "win32":
            raise OSError(errno.ENOSYS, "no shared locks on this system")
        told = Patience(patience, self._patience.tell)
        with ExitStack() as held:
            wait = Wait(StoreBusy, self._store, told)
            self._pass(wait, held, required=True)
            use = LockFile(self._folder / _USE)
            held.callback(use.close)
            wait.until(use.try_to_lock, self._folder / _USE)
            self._mine.held = use
            yield

    def _pass(self, wait: Wait, held: ExitStack, *, required: bool = False) -> None:
        """Go through the turnstile, which stays closed as long as ``held`` lasts."""
        ahead = self._folder / _USE, self._folder / _TURNSTILE
        with ExitStack() as queueing:
            for name, until in ((_QUEUE, queueing), (_TURNSTILE, held)):
                lock = LockFile(self._folder / name) if required else self._open(name)
                if lock is not None:
                    until.callback(lock.close)
                    # Of those ahead the one matters who has the store, not the queue.
                    wait.until(lock.try_to_lock, *ahead, self._folder / name)

    def _open(self, name: str) -> LockFile | None:
        """A lock file, which need not be writable for a lock; None if there is none."""
        if sys.platform == "win32":
            return None
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            try:
                return LockFile(self._folder / name, flags)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                    raise
        return None
