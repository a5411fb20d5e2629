"""Integrity: whether the entries of stores are what was published. Changes nothing.

A walk over an entry's folder compares names, kinds, permission bits and sizes with what
RECORD, ``entry.json`` and the notes of bytecode say; it yields what is wrong, and which
files have to be read to know more. They are read by threads (hashing does not hold the
interpreter), a few blocks at a time, so memory does not grow with what is verified.

The hashes lie in the entry itself. They catch accidents: a disk that fails, a hand that
slips, root's imports. Somebody who may write there can change the hashes as well.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from commonwheel import entry_folder, record, tree
from commonwheel.entry import Description, Entry, StoredFile
from commonwheel.errors import InvalidStore, explain
from commonwheel.wheel import Area

_BLOCK = 1 << 18
"""In bytes; what a thread reads at a time."""
_BATCH_FILES = 128
_BATCH_SIZE = 1 << 23
"""In bytes. What a thread is given at a time is at most this, or one file."""
_AHEAD = 4
"""Batches that are prepared for each thread."""
_DIGEST = re.compile("[0-9a-f]{64}")
_SET_GROUP = stat.S_ISGID
"""Folders in a folder of a group have it; it says nothing of who may write."""


class Fault(Enum):
    """What can be wrong with a file, a link or a folder."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    MODE = "mode"
    """Other permission bits: somebody may write to it who should not."""
    DAMAGED = "damaged"
    """It cannot be understood."""
    UNREADABLE = "unreadable"
    EDITED = "edited"
    """A real file that belongs to one environment, where it may have been meant so."""


_SAID = {
    Fault.CHANGED: "was changed",
    Fault.MISSING: "is missing",
    Fault.ADDED: "does not belong there",
    Fault.MODE: "has other permissions",
    Fault.DAMAGED: "is damaged",
    Fault.UNREADABLE: "cannot be read",
    Fault.EDITED: "was edited here",
}


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with an entry, or with an environment."""

    place: Path
    """The entry's folder, or a site-packages folder."""
    path: str
    """Relative to it, with ``/``; empty: all of it."""
    fault: Fault
    detail: str = ""
    distribution: str = ""
    """Of an environment: whose it is (normalized), if it is one's."""

    def __str__(self) -> str:
        path = f" {self.path}" if self.path else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.place}:{path} {_SAID[self.fault]}{detail}"


@dataclass(frozen=True)
class Reading:
    """A file that has to be read, and what is wrong if its hash is another one."""

    file: str
    """Its path."""
    hash: str
    """As in RECORD."""
    size: int
    """In bytes."""
    otherwise: Damage


@dataclass(frozen=True)
class Look:
    """What a walk has found."""

    damages: tuple[Damage, ...]
    readings: tuple[Reading, ...]
    """What it takes to know the rest."""
    files: int
    size: int
    """Of all files that were looked at, in bytes."""


@dataclass(frozen=True)
class _Recorded:
    """A file of an entry, as it is recorded."""

    hash: str
    """As in RECORD; empty: not recorded."""
    size: int
    """In bytes; -1: not recorded."""
    since: int
    """When it had been published, in nanoseconds (``st_ctime_ns``)."""


def look(root: Path, quick: bool = False) -> Look:
    """Walk over the entry whose folder is ``root``.

    ``quick``: a file is to be read only if its time stamps say that it was written to
    after the entry was published. What is not seen by that: changes that set the time
    back, of a file that environments have hard links to; and a disk that fails.
    """
    try:
        if not stat.S_ISDIR(os.lstat(root).st_mode):
            return _only(Damage(root, "", Fault.ADDED, "it is no entry"))
        entry = entry_folder.read_entry(root)
        if entry is None:
            return _only(_incomplete(root))
        told = list(_contradictions(entry))
        bytecode, wrong = _bytecode(entry)
        recorded = {**bytecode, **_recorded(entry)}
    except InvalidStore as error:
        return _only(_unreadable(root, error))
    except FileNotFoundError as error:
        fault = Fault.DAMAGED if os.path.lexists(root) else Fault.MISSING
        detail = explain(error) if fault is Fault.DAMAGED else ""
        return _only(Damage(root, "", fault, detail))
    except (OSError, ValueError) as error:
        detail = explain(error) if isinstance(error, OSError) else str(error)
        return _only(Damage(root, "", Fault.DAMAGED, detail))
    return _compare(root, recorded, [*told, *wrong], quick)


def _only(damage: Damage) -> Look:
    return Look((damage,), (), 0, 0)


def _incomplete(root: Path) -> Damage:
    for name in ("entry.json", "dist-info/RECORD"):
        if not os.path.exists(root / name) and os.path.exists(root / Area.TREE.value):
            return Damage(root, name, Fault.MISSING)
    if _is_name(root.name):
        return Damage(root, "entry.json", Fault.MISSING)
    return Damage(root, "", Fault.ADDED, "it is no entry")


def _is_name(name: str) -> bool:
    """Whether an entry could have this name."""
    parts = name.split("-")
    digits = parts[2] if len(parts) in (3, 4) else ""
    return len(digits) == 8 and not set(digits) - set("0123456789abcdef")


def _unreadable(root: Path, error: InvalidStore) -> Damage:
    try:
        entry_folder.read_description(root)
    except (OSError, ValueError) as reason:
        fault = Fault.UNREADABLE if isinstance(reason, OSError) else Fault.DAMAGED
        return Damage(root, "entry.json", fault, str(reason))
    return Damage(root, "dist-info/RECORD", Fault.DAMAGED, error.reason)


def describe(root: Path) -> Description | None:
    """What the entry says that it is of; None if it does not, or contradicts itself."""
    try:
        found = entry_folder.read_description(root)
    except (OSError, ValueError):
        return None
    return found if found is not None and _names(root.name, found) else None


def _names(name: str, description: Description) -> bool:
    """Whether a description is of the entry ``name``."""
    prefix = "-".join(description.filename.split("-")[:2])
    begins = f"{prefix}-{description.sha256[:8]}"
    return (
        description.id == name
        and len(description.sha256) == 64
        and (name == begins or name.startswith(f"{begins}-"))
    )


def _contradictions(entry: Entry) -> Iterator[Damage]:
    """Where ``entry.json`` says something else than the folder's name, and RECORD.

    :raises ValueError: RECORD cannot be understood
    """
    description = entry.description
    if not _names(entry.root.name, description):
        detail = f"it is of {description.id}"
        yield Damage(entry.root, "entry.json", Fault.CHANGED, detail)
        return
    metadata, rows = _rows(entry)
    told = (description.files, description.size, set(description.metadata))
    listed = (len(rows), sum(int(row.size) for row in rows), set(metadata))
    if told != listed:
        detail = "it and dist-info/RECORD contradict each other"
        yield Damage(entry.root, "entry.json", Fault.CHANGED, detail)


def _rows(entry: Entry) -> tuple[dict[str, record.Row], list[record.Row]]:
    """The rows of metadata, by name, and those of the tree.

    :raises ValueError: RECORD cannot be understood
    """
    prefix = f"{entry.description.dist_info}/"
    metadata: dict[str, record.Row] = {}
    others: list[record.Row] = []
    for row in record.parse(entry.record):
        if row.path.startswith(prefix):
            metadata[row.path.removeprefix(prefix)] = row
        else:
            others.append(row)
    return metadata, others


def _recorded(entry: Entry) -> dict[str, _Recorded]:
    """The files that an entry is to have of its wheel, by their paths in its folder.

    :raises ValueError: RECORD cannot be understood
    :raises OSError: ``entry.json`` is not there any more
    """
    # the last file that is sealed; nothing links to it, which would change its time
    since = os.stat(entry.root / "entry.json").st_ctime_ns
    unknown = _Recorded("", -1, since)
    found = {"entry.json": unknown, f"{Area.METADATA.value}/RECORD": unknown}
    metadata, rows = _rows(entry)
    for row in rows:
        path = f"{Area.TREE.value}/{row.path}"
        found[path] = _Recorded(row.hash, int(row.size), since)
    for name, row in metadata.items():
        path = f"{Area.METADATA.value}/{name}"
        found[path] = _Recorded(row.hash, int(row.size), since)
    description = entry.description
    stored: tuple[tuple[Area, tuple[StoredFile, ...]], ...] = (
        (Area.SCRIPTS, description.script_files),
        (Area.HEADERS, description.headers),
        (Area.DATA, description.data),
    )
    for area, files in stored:
        for file in files:
            path = f"{area.value}/{file.path}"
            found[path] = _Recorded(file.hash, file.size, since)
    return found


def _bytecode(entry: Entry) -> tuple[dict[str, _Recorded], list[Damage]]:
    """The bytecode that an entry is to have, and what is wrong with the notes of it.

    :raises OSError: a note of bytecode cannot be read
    """
    found: dict[str, _Recorded] = {}
    made: dict[str, int] = {}
    noted: dict[str, int] = {}
    for tag in _noted_tags(entry):
        made[tag] = os.stat(entry.root / f"bytecode/{tag}").st_ctime_ns
        noted[tag] = 0
        found[f"bytecode/{tag}"] = _Recorded("", -1, made[tag])
    for path, digest in entry_folder.bytecode_digests(entry):
        tag = tag_of(path)
        if tag in made and _DIGEST.fullmatch(digest):
            noted[tag] += 1
            row_hash = record.encode_digest("sha256", bytes.fromhex(digest))
            found[f"{Area.TREE.value}/{path}"] = _Recorded(row_hash, -1, made[tag])
    damages = [
        Damage(entry.root, f"bytecode/{tag}", Fault.DAMAGED)
        for tag, number in noted.items()
        if (entry_folder.bytecode_of(entry, tag) or (-1, -1))[0] != number
    ]
    return found, damages


def _noted_tags(entry: Entry) -> list[str]:
    return sorted(n for n in os.listdir(entry.root / "bytecode") if n[:1] != ".")


def tag_of(bytecode: str) -> str:
    """Which Pythons a bytecode file is for, by its path (:pep:`3147`)."""
    return bytecode.removesuffix(".pyc").rpartition("/")[2].rpartition(".")[2]


def _compare(
    root: Path, recorded: dict[str, _Recorded], told: list[Damage], quick: bool
) -> Look:
    areas = {*(area.value for area in Area), "bytecode"}
    folders = {"", *tree.folders(recorded), *areas}
    damages, readings = told, []
    seen: set[str] = set()
    size = 0
    for path, status in _walk(root, folders, damages):
        seen.add(path)
        if stat.S_ISDIR(status.st_mode):
            if path not in folders:
                damages.append(Damage(root, path, Fault.ADDED, "a folder"))
            elif not _is_sealed_folder(path, status):
                damages.append(Damage(root, path, Fault.MODE, _bits(status)))
            continue
        wanted = recorded.get(path)
        if not stat.S_ISREG(status.st_mode):
            fault = Fault.ADDED if wanted is None else Fault.CHANGED
            damages.append(Damage(root, path, fault, _kind(status)))
        elif wanted is None:
            damages.append(Damage(root, path, Fault.ADDED))
        else:
            size += status.st_size
            if not _is_sealed(status):
                damages.append(Damage(root, path, Fault.MODE, _bits(status)))
            if wanted.size not in (-1, status.st_size):
                detail = f"{status.st_size} bytes, not {wanted.size}"
                damages.append(Damage(root, path, Fault.CHANGED, detail))
            elif wanted.hash and not (quick and _is_as_published(status, wanted.since)):
                damage = Damage(root, path, Fault.CHANGED)
                file = os.path.join(root, path)
                readings.append(Reading(file, wanted.hash, status.st_size, damage))
    lacking = sorted((recorded.keys() | areas) - seen)
    damages += [Damage(root, path, Fault.MISSING) for path in lacking]
    return Look(tuple(damages), tuple(readings), len(seen & recorded.keys()), size)


def _walk(
    root: Path, folders: set[str], damages: list[Damage]
) -> Iterator[tuple[str, os.stat_result]]:
    """What the folder holds; follows no links, nor enters folders that are not its."""
    yield "", os.lstat(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as found:
                entries = sorted(found, key=lambda each: each.name)
        except OSError as error:
            damages.append(Damage(root, folder, Fault.UNREADABLE, explain(error)))
            continue
        for each in entries:
            path = f"{folder}/{each.name}" if folder else each.name
            try:
                status = each.stat(follow_symlinks=False)
            except OSError as error:
                damages.append(Damage(root, path, Fault.UNREADABLE, explain(error)))
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode) and path in folders:
                pending.append(path)


def _is_as_published(status: os.stat_result, since: int) -> bool:
    """Whether the time stamps say that a file was not written to.

    A hard link changes the time of the last change of status too, and environments make
    some; then only that of the last change of the contents counts.
    """
    if status.st_mtime_ns > since:
        return False
    return status.st_ctime_ns <= since or status.st_nlink > 1


def _is_sealed_folder(path: str, status: os.stat_result) -> bool:
    if os.name == "nt":
        return True
    mode = stat.S_IMODE(status.st_mode) & ~_SET_GROUP
    if path in ("", "bytecode"):
        return mode | stat.S_IWUSR == 0o755
    return mode == 0o555


def _is_sealed(status: os.stat_result) -> bool:
    return os.name == "nt" or stat.S_IMODE(status.st_mode) in (0o444, 0o555)


def _bits(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


def _kind(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link"
    return "neither a file nor a folder"


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


def inspect(root: Path) -> list[Damage]:
    """Everything that is wrong with the entry whose folder is ``root``; reads all of it.

    In the order of a walk, what had to be read last.
    """
    found = look(root)
    return [*found.damages, *read(found.readings)]


def _processors() -> int:
    """How many of the machine's processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
