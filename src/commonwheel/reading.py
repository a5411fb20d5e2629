"""Reading: files are hashed, and compared with what is recorded of them.

By threads (hashing does not hold the interpreter), a few blocks at a time, so memory does
not grow with what is read.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from commonwheel import record
from commonwheel.damage import Damage, Fault, Reading
from commonwheel.errors import explain

_BLOCK = 1 << 18
"""In bytes; what a thread reads at a time."""
_BATCH_FILES = 128
_BATCH_SIZE = 1 << 23
"""In bytes. What a thread is given at a time is at most this, or one file."""
_AHEAD = 4
"""Batches that are prepared for each thread."""


def read(
    readings: Iterable[Reading], done: Callable[[int, int], object] = lambda n, size: None
) -> Iterator[Damage]:
    """Hash the files, on all processors; yields what is wrong with those that are others.

    ``done`` is called with how many files of how many bytes have been read.
    """
    workers = _processors()
    waiting: deque[tuple[Future[list[Damage]], int, int]] = deque()
    buffers = threading.local()

    def finish() -> list[Damage]:
        future, number, size = waiting.popleft()
        found = future.result()
        done(number, size)
        return found

    with ThreadPoolExecutor(workers, "verify") as pool:
        try:
            for batch in _batches(readings):
                size = sum(each.size for each in batch)
                future = pool.submit(_read_batch, batch, buffers)
                waiting.append((future, len(batch), size))
                if len(waiting) > workers * _AHEAD:
                    yield from finish()
            while waiting:
                yield from finish()
        finally:
            for future, _, _ in waiting:
                future.cancel()


def _batches(readings: Iterable[Reading]) -> Iterator[list[Reading]]:
    batch: list[Reading] = []
    size = 0
    for each in readings:
        batch.append(each)
        size += each.size
        if len(batch) >= _BATCH_FILES or size >= _BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_batch(batch: Sequence[Reading], buffers: threading.local) -> list[Damage]:
    if not hasattr(buffers, "block"):
        buffers.block = bytearray(_BLOCK)
    found = []
    for each in batch:
        algorithm, _, _ = each.hash.partition("=")
        try:
            digest = _digest(each.file, algorithm, buffers.block)
        except (OSError, ValueError) as error:
            detail = explain(error) if isinstance(error, OSError) else str(error)
            damage = each.otherwise
            found.append(
                Damage(
                    *(damage.place, damage.path, Fault.UNREADABLE, detail),
                    damage.distribution,
                )
            )
        else:
            if record.encode_digest(algorithm, digest) != each.hash.rstrip("="):
                found.append(each.otherwise)
    return found


def _digest(path: str, algorithm: str, block: bytearray) -> bytes:
    """The digest of a file.

    :raises OSError: it cannot be read
    :raises ValueError: :mod:`hashlib` does not know the algorithm
    """
    hasher = hashlib.new(algorithm)
    view = memoryview(block)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            hasher.update(view[:count])
    return hasher.digest()


def _processors() -> int:
    """How many of the machine's processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
