"""Notes how long each lock was waited for and held, in every process of a crowd.

Started with each of its Pythons by a ``.pth`` file, beside the code under test, which
knows nothing of it. What ``CROWD_WITHOUT`` names is taken out of that code: so it can be
seen that a crowd would notice.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from commonwheel import exclusion, occupancy, store_folder

_TAKEN: dict[int, float] = {}
"""Since when an object of this process has its lock."""


def _note(kind: str, path: Path, begin: float) -> None:
    row = [kind, str(path), begin, time.time(), os.getpid()]
    with open(os.environ["CROWD_TRACE"], "ab", buffering=0) as file:
        file.write(json.dumps(row).encode() + b"\n")  # one write: lines never mix


def _until(self: exclusion.Wait, attempt: Any, *locks: Path) -> None:
    begin = time.time()
    try:
        until(self, attempt, *locks)
    finally:
        _note("wait", locks[-1], begin)


def _try_to_lock(self: exclusion.LockFile, *, shared: bool = False) -> bool:
    done = try_to_lock(self, shared=shared)
    if done:
        _TAKEN[id(self)] = time.time()
    return done


def _close(self: exclusion.LockFile) -> None:
    close(self)
    if id(self) in _TAKEN:
        _note("held", self._path, _TAKEN.pop(id(self)))


def _try_to_acquire(self: exclusion.Exclusion) -> bool:
    done = try_to_acquire(self)
    if done:
        _TAKEN[id(self)] = time.time()
    return done


def _release(self: exclusion.Exclusion) -> None:
    release(self)
    if id(self) in _TAKEN:
        _note("held", self._path, _TAKEN.pop(id(self)))


def _nothing(self: object, *_: object) -> Any:
    return nullcontext()


if "CROWD_TRACE" in os.environ:
    until = exclusion.Wait.until
    try_to_lock, close = exclusion.LockFile.try_to_lock, exclusion.LockFile.close
    try_to_acquire = exclusion.Exclusion.try_to_acquire
    release = exclusion.Exclusion.release
    exclusion.Wait.until = _until  # type: ignore[method-assign]
    exclusion.LockFile.try_to_lock = _try_to_lock  # type: ignore[method-assign]
    exclusion.LockFile.close = _close  # type: ignore[method-assign]
    exclusion.Exclusion.try_to_acquire = _try_to_acquire  # type: ignore[method-assign]
    exclusion.Exclusion.release = _release  # type: ignore[method-assign]
_WITHOUT = os.environ.get("CROWD_WITHOUT", "")
if _WITHOUT == "the shared lock":
    occupancy.Occupancy.using = _nothing  # type: ignore[method-assign]
if _WITHOUT == "the lock of a wheel":
    store_folder.StoreFolder._lock = _nothing  # type: ignore[method-assign]
