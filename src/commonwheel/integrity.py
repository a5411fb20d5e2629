"""Integrity: whether the entries of stores are what was published. Changes nothing.

A walk over an entry's folder compares names, kinds, permission bits and sizes with what
RECORD, ``entry.json`` and the notes of bytecode say; it yields what is wrong, and which
files have to be read (:mod:`commonwheel.reading`) to know more.

The hashes lie in the entry itself. They catch accidents: a disk that fails, a hand that
slips, root's imports. Somebody who may write there can change the hashes as well.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from commonwheel import entry_folder, record, tree
from commonwheel.damage import Damage, Fault, Look, Reading
from commonwheel.entry import Description, Entry, StoredFile
from commonwheel.errors import InvalidStore, explain
from commonwheel.reading import read
from commonwheel.wheel import Area

_DIGEST = re.compile("[0-9a-f]{64}")
_SET_GROUP = stat.S_ISGID
"""Folders in a folder of a group have it; it says nothing of who may write."""


@dataclass(frozen=True)
class _Recorded:
    """A file of an entry, as it is recorded."""

    hash: str
    """As in RECORD; empty: not recorded."""
    size: int
    """In bytes; -1: not recorded."""
    since: int
    """When it had been published, in nanoseconds (``st_ctime_ns``)."""
    begun: bool = False
    """Whether it is being added, so that it need not be there yet."""


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
        recorded = {**_begun(entry), **bytecode, **_recorded(entry)}
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


def _begun(entry: Entry) -> dict[str, _Recorded]:
    """The bytecode that somebody is adding to an entry, or was when killed.

    It comes by renames, so each file is there as a whole, or not yet.

    :raises OSError: a note of bytecode cannot be read
    """
    found: dict[str, _Recorded] = {}
    for name, listed in entry_folder.begun_bytecode(entry).items():
        found[f"bytecode/{name}"] = _Recorded("", -1, 0, begun=True)
        for path, digest in listed:
            if _DIGEST.fullmatch(digest):
                row_hash = record.encode_digest("sha256", bytes.fromhex(digest))
                place = f"{Area.TREE.value}/{path}"
                found[place] = _Recorded(row_hash, -1, 0, begun=True)
    return found


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
    begun = {path for path, each in recorded.items() if each.begun}
    open_folders = {each for path in begun for each in _both_above(path)}
    damages, readings = told, []
    seen: set[str] = set()
    size = 0
    for path, status in _walk(root, folders, damages):
        seen.add(path)
        if stat.S_ISDIR(status.st_mode):
            if path not in folders:
                damages.append(Damage(root, path, Fault.ADDED, "a folder"))
            elif not _is_sealed_folder(path, status, path in open_folders):
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
    lacking = sorted((recorded.keys() | areas) - begun - seen)
    damages += [Damage(root, path, Fault.MISSING) for path in lacking]
    return Look(tuple(damages), tuple(readings), len(seen & recorded.keys()), size)


def _both_above(bytecode: str) -> tuple[str, str]:
    """The folders opened to add a bytecode file: its own, and that of its source."""
    own = os.path.dirname(bytecode)
    return own, os.path.dirname(own)


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


def _is_sealed_folder(path: str, status: os.stat_result, is_open: bool) -> bool:
    """Whether nobody else can write to a folder, nor its owner unless it ``is_open``."""
    if os.name == "nt":
        return True
    mode = stat.S_IMODE(status.st_mode) & ~_SET_GROUP
    if path in ("", "bytecode"):
        return mode | stat.S_IWUSR == 0o755
    if is_open:
        return mode | 0o755 == 0o755  # a new one is not yet open to all
    return mode == 0o555


def _is_sealed(status: os.stat_result) -> bool:
    return os.name == "nt" or stat.S_IMODE(status.st_mode) in (0o444, 0o555)


def _bits(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


def _kind(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link"
    return "neither a file nor a folder"


def inspect(root: Path) -> list[Damage]:
    """Everything that is wrong with the entry whose folder is ``root``; reads all of it.

    In the order of a walk, what had to be read last.
    """
    found = look(root)
    return [*found.damages, *read(found.readings)]
