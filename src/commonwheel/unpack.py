"""Unpack: wheel -> the files of an entry, and what linking them needs to know.

Writes into the folders that :class:`commonwheel.wheel.Area` names, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from commonwheel import record, tree, wheel, zip_data
from commonwheel.binaries.outside import look_outside
from commonwheel.entry import Description, Script, StoredFile
from commonwheel.errors import InvalidWheel
from commonwheel.files import open_to_read
from commonwheel.wheel import Area, Member, Wheel
from commonwheel.wheel_rules import WheelRule

_NOT_TAKEN = wheel.UNRECORDED | wheel.WRITTEN_BY_INSTALLERS


def extract(archive: Wheel, root: Path) -> None:
    """Write the wheel's files into folders of ``root``, comparing their hashes.

    :raises InvalidWheel: a file is damaged, or not the one that RECORD lists
    :raises OSError: a file could not be written
    """
    made: set[Path] = set()
    with open_to_read(archive.path) as source:
        wanted = {member.name for member in _wanted(archive)}
        for member in archive.members:
            if member.name not in wanted:
                _check_member(archive, source, member)
                continue
            target = root / member.area.value / member.path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _extract_member(archive, source, member, target)


def describe(archive: Wheel, root: Path, identifier: str, digest: str) -> Description:
    """What the entry ``identifier`` of a wheel with the sha256 ``digest`` says of it.

    The wheel was extracted to ``root``.

    :raises OSError: a file there cannot be read
    """
    by_area: dict[Area, list[Member]] = {area: [] for area in Area}
    for member in _wanted(archive):
        by_area[member.area].append(member)
    paths = tree_paths(archive)
    metadata = {member.path for member in by_area[Area.METADATA]}
    outside = look_outside(root / Area.TREE.value, paths)
    return Description(
        id=identifier,
        sha256=digest,
        filename=archive.path.name,
        name=archive.name,
        version=archive.version,
        dist_info=archive.dist_info,
        root_is_purelib=archive.root_is_purelib,
        tags=tuple(sorted(map(str, archive.tags))),
        links=tree.links(
            (path for path in paths if not tree.must_be_real(path)), outside.folders
        ),
        real=_stored(m for m in by_area[Area.TREE] if tree.must_be_real(m.path)),
        metadata=tuple(sorted({*metadata, wheel.TOP_LEVEL})),
        added=() if wheel.TOP_LEVEL in metadata else (wheel.TOP_LEVEL,),
        script_files=_stored(by_area[Area.SCRIPTS]),
        headers=_stored(by_area[Area.HEADERS]),
        data=_stored(by_area[Area.DATA]),
        scripts=tuple(Script(**asdict(script)) for script in archive.scripts),
        files=len(paths),
        folders=len(tree.folders(paths)),
        size=sum(member.size for member in by_area[Area.TREE]),
        beside=outside.beside,
        above=outside.above,
        wanted=outside.wanted,
        remarks=archive.remarks,
    )


def complete_metadata(archive: Wheel, dist_info: Path) -> str:
    """Write what the wheel's own metadata lacks; returns the text of its RECORD.

    That has the rows which are the same in every environment.
    """
    rows = [
        record.Row(_recorded_path(archive, member), member.hash, str(member.size))
        for member in _wanted(archive)
        if member.area in (Area.TREE, Area.METADATA)
    ]
    top_level = dist_info / wheel.TOP_LEVEL
    if not top_level.exists():
        # RECORD in an environment has rows of ours; without this file,
        # `importlib.metadata.packages_distributions` guesses from the rows.
        names = tree.top_level_names(tree_paths(archive))
        content = "".join(f"{name}\n" for name in names).encode("utf-8")
        top_level.write_bytes(content)
        value = record.encode_digest("sha256", hashlib.sha256(content).digest())
        path = f"{archive.dist_info}/{wheel.TOP_LEVEL}"
        rows.append(record.Row(path, value, str(len(content))))
    text = record.render(sorted(rows))
    (dist_info / "RECORD").write_bytes(text.encode("utf-8"))
    return text


def tree_paths(archive: Wheel) -> list[str]:
    """The files that belong in site-packages, relative to it."""
    return [member.path for member in _wanted(archive) if member.area is Area.TREE]


def _wanted(archive: Wheel) -> Iterator[Member]:
    """The wheel's files that are of use in an entry.

    An egg of the wheel's own is not: its ``.dist-info`` says the same. Nor would it do to
    make it real files in environments: pip may find it first, and uninstall what is named
    in it, files of the store among them.
    """
    for member in archive.members:
        if member.area is Area.METADATA:
            if member.path in _NOT_TAKEN:
                continue
        elif member.area is Area.TREE and (
            tree.is_bytecode(member.path) or tree.egg(member.path) is not None
        ):
            continue
        yield member


def _extract_member(
    archive: Wheel, source: BinaryIO, member: Member, target: Path
) -> None:
    with open(target, "xb") as file:
        file.writelines(_blocks(archive, source, member))
    if member.executable:
        os.chmod(target, 0o755)  # noqa: S103


def _check_member(archive: Wheel, source: BinaryIO, member: Member) -> None:
    """As if it were extracted: a wheel is right as a whole, or it is refused."""
    for _ in _blocks(archive, source, member):
        pass


def _blocks(archive: Wheel, source: BinaryIO, member: Member) -> Iterator[bytes]:
    """The contents of a file, whose hash is compared at the end."""
    algorithm = member.hash.partition("=")[0]
    hasher = hashlib.new(algorithm or "sha256")
    for block in zip_data.unpack(archive.path, source, member.packed):
        hasher.update(block)
        yield block
    right = member.hash.rstrip("=")
    if right and record.encode_digest(algorithm, hasher.digest()) != right:
        reason = "its hash is not the one in RECORD"
        raise InvalidWheel(archive.path, WheelRule.WRONG_HASH, reason, member.name)


def _stored(members: Iterable[Member]) -> tuple[StoredFile, ...]:
    return tuple(
        StoredFile(member.path, member.hash, member.size, member.executable)
        for member in sorted(members, key=lambda member: member.path)
    )


def _recorded_path(archive: Wheel, member: Member) -> str:
    """Where a member lies relative to site-packages."""
    if member.area is Area.METADATA:
        return f"{archive.dist_info}/{member.path}"
    return member.path
