"""A wheel, as its archive describes it. Reads strictly, writes nothing.

Follows https://packaging.python.org/en/latest/specifications/binary-distribution-format/
and is stricter than installers have been: what RECORD says must be true, both ways.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)
from packaging.version import Version

from commonwheel import entry_points, member_names, record, tree, wheel_metadata
from commonwheel.entry_points import EntryPointScript
from commonwheel.errors import InvalidWheel
from commonwheel.files import open_to_read
from commonwheel.limits import Limits
from commonwheel.wheel_metadata import STRONG_HASHES
from commonwheel.wheel_rules import WheelRule as Rule
from commonwheel.zip_archive import ZipArchive
from commonwheel.zip_data import Packed

UNRECORDED = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
"""Members of ``.dist-info`` that RECORD does not vouch for."""
WRITTEN_BY_INSTALLERS = frozenset({"INSTALLER", "REQUESTED", "direct_url.json"})
"""Metadata that says how a distribution was installed; a wheel's own is not true."""
TOP_LEVEL = "top_level.txt"
"""What is added to the metadata of a wheel that does not have it."""

_WRITTEN = {
    member_names.fold(file): file
    for file in (*UNRECORDED, *WRITTEN_BY_INSTALLERS, TOP_LEVEL)
}
_READ_AS_A_WHOLE = re.compile(
    rb"[^/]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt)"
)
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_USUAL = Limits()


class Area(Enum):
    """Where a member of a wheel belongs. The values name folders of a store entry."""

    TREE = "tree"
    """site-packages."""
    METADATA = "dist-info"
    SCRIPTS = "scripts"
    HEADERS = "headers"
    DATA = "data"


_AREAS_OF_DATA = {
    "purelib": Area.TREE,
    "platlib": Area.TREE,
    "scripts": Area.SCRIPTS,
    "headers": Area.HEADERS,
    "data": Area.DATA,
}


@dataclass(frozen=True)
class Member:
    """One file of a wheel."""

    name: str
    """In the archive."""
    area: Area
    path: str
    """Within the area, with ``/``."""
    size: int
    """In bytes, as the archive's directory says."""
    hash: str
    """As in RECORD; empty for the files that RECORD does not vouch for."""
    executable: bool
    packed: Packed
    """Where in the archive it is, and how."""


@dataclass(frozen=True)
class Wheel:
    """What a wheel file says about itself."""

    path: Path
    name: str
    """Normalized."""
    version: str
    """As the file name has it."""
    tags: frozenset[Tag]
    dist_info: str
    """The name of its ``.dist-info`` folder."""
    root_is_purelib: bool
    members: tuple[Member, ...]
    scripts: tuple[EntryPointScript, ...]
    remarks: tuple[str, ...] = ()
    """What whoever installs it should know."""

    @property
    def prefix(self) -> str:
        """``NAME-VERSION`` as the file name escapes them."""
        return "-".join(self.path.name.split("-")[:2])


def read(path: Path, limits: Limits = _USUAL) -> Wheel:
    """Read the wheel file ``path``.

    The contents of its members are not read, only its metadata: their hashes are
    compared when they are unpacked.

    :raises InvalidWheel: the file is not a wheel, or exceeds ``limits``; says why
    :raises OSError: it cannot be read, or is no file
    """
    name, version, supported = _parse_filename(path)
    with open_to_read(path) as file:
        archive = ZipArchive(path, file, limits, _READ_AS_A_WHOLE.fullmatch)
        return _read_archive(path, archive, limits.members, name, version, supported)


def name(path: Path) -> str:
    """The distribution, normalized, in the name of the wheel file ``path``.

    :raises InvalidWheel: the name is not a wheel's
    """
    return _parse_filename(path)[0]


def tags(path: Path) -> frozenset[Tag]:
    """The compatibility tags in the name of the wheel file ``path``.

    :raises InvalidWheel: the name is not a wheel's
    """
    return _parse_filename(path)[2]


def _parse_filename(path: Path) -> tuple[str, Version, frozenset[Tag]]:
    try:
        name, version, _, supported = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise InvalidWheel(path, Rule.FILE_NAME, str(error)) from error
    return name, version, supported


def _read_archive(
    path: Path,
    archive: ZipArchive,
    most: int,
    name: str,
    version: Version,
    supported: frozenset[Tag],
) -> Wheel:
    files = _list_files(path, archive, most)
    dist_info = _find_dist_info(path, archive, name, version)
    text = _Metadata(path, archive, files, dist_info)
    wheel_metadata.check_metadata(path, text.read("METADATA"), name, version)
    root_is_purelib = wheel_metadata.read_wheel_file(path, text.read("WHEEL"))
    listed, recorded = text.read("RECORD"), f"{dist_info}/RECORD"
    rows = wheel_metadata.read_record(path, listed, recorded, files)
    members = tuple(_member(path, packed, dist_info, rows) for packed in files.values())
    for member in members:
        _check_own(path, member, name)
    _check_places(path, members, most)
    scripts: tuple[EntryPointScript, ...] = ()
    if f"{dist_info}/entry_points.txt" in files:
        scripts = entry_points.read(path, text.read("entry_points.txt"), most)
    _check_environment(path, members, scripts)
    return Wheel(
        path,
        name,
        str(version),
        supported,
        dist_info,
        root_is_purelib,
        members,
        scripts,
        tuple(dict.fromkeys(_remarks(members))),
    )


@dataclass(frozen=True)
class _Metadata:
    """The files of a wheel's ``.dist-info`` folder, to be read as text."""

    path: Path
    archive: ZipArchive
    files: dict[str, Packed]
    dist_info: str

    def read(self, name: str) -> str:
        member = f"{self.dist_info}/{name}"
        if member not in self.files:
            raise InvalidWheel(self.path, Rule.DIST_INFO, f"it has no {member}")
        try:
            return self.archive.read(self.files[member]).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidWheel(self.path, Rule.METADATA, "not UTF-8", member) from None


def _list_files(path: Path, archive: ZipArchive, most: int) -> dict[str, Packed]:
    """The archive's files by name; every name is safe to join to a folder."""
    folders: dict[str, Packed] = {}
    for member in archive.members:
        name = member.name[:-1] if member.is_folder else member.name
        member_names.check(path, name)
        kind = stat.S_IFMT(member.mode)
        if kind not in (0, stat.S_IFDIR if member.is_folder else stat.S_IFREG):
            reason = "neither a file nor a folder, or not what its name says"
            raise InvalidWheel(path, Rule.SPECIAL_FILE, reason, name)
        if member.is_folder:
            if member.size:
                raise InvalidWheel(path, Rule.CONTENTS, "a folder with contents", name)
            archive.read(member)  # deflated, nothing takes two bytes, and may take more
            if name in folders:
                raise InvalidWheel(path, Rule.DUPLICATE, "it is there twice", name)
            folders[name] = member
    files = [member for member in archive.members if not member.is_folder]
    member_names.check_apart(path, (member.name for member in files), folders, most)
    return {member.name: member for member in files}


def _find_dist_info(path: Path, archive: ZipArchive, name: str, version: Version) -> str:
    tops = {file.name.partition("/")[0] for file in archive.members if "/" in file.name}
    candidates = sorted(top for top in tops if top.lower().endswith(".dist-info"))
    if len(candidates) != 1 or not candidates[0].endswith(".dist-info"):
        found = ", ".join(candidates) or "none"
        reason = f"it must have one .dist-info folder (found: {found})"
        raise InvalidWheel(path, Rule.DIST_INFO, reason)
    dist_info = candidates[0]
    stem = dist_info.removesuffix(".dist-info")
    own_name, _, own_version = stem.rpartition("-")
    if not wheel_metadata.agree(own_name, own_version, name, version):
        reason = f"the folder {dist_info} does not belong to {name} {version}"
        raise InvalidWheel(path, Rule.ANOTHERS_FOLDER, reason)
    for top in sorted(top for top in tops if top.lower().endswith(".data")):
        if top != f"{stem}.data":  # which some take for the wheel's own, some do not
            reason = f"the folder {top} does not belong to {dist_info}"
            raise InvalidWheel(path, Rule.ANOTHERS_FOLDER, reason)
    return dist_info


def _member(
    path: Path, packed: Packed, dist_info: str, rows: dict[str, record.Row]
) -> Member:
    """Where a file belongs and what RECORD says of it."""
    name, size = packed.name, packed.size
    area, inner = _place(path, name, dist_info)
    executable = stat.S_ISREG(packed.mode) and bool(packed.mode & 0o111)
    if area is Area.METADATA and inner in UNRECORDED:
        return Member(name, area, inner, size, "", executable, packed)
    if name not in rows:
        raise InvalidWheel(path, Rule.NOT_RECORDED, "RECORD does not list it", name)
    row = rows[name]
    if row.hash.partition("=")[0] not in STRONG_HASHES:
        reason = "RECORD has no sha256 (or better) hash of it"
        raise InvalidWheel(path, Rule.WEAK_HASH, reason, name)
    if row.size and int(row.size) != size:
        reason = f"RECORD says {row.size} bytes, the archive {size}"
        raise InvalidWheel(path, Rule.WRONG_SIZE, reason, name)
    return Member(name, area, inner, size, row.hash, executable, packed)


def _place(path: Path, name: str, dist_info: str) -> tuple[Area, str]:
    """Where the member ``name`` belongs."""
    top, _, rest = name.partition("/")
    if top == dist_info:
        return Area.METADATA, rest
    if not top.lower().endswith(".data") or not rest:
        return Area.TREE, name
    key, _, inner = rest.partition("/")
    if key not in _AREAS_OF_DATA or not inner:
        keys = ", ".join(sorted(_AREAS_OF_DATA))
        reason = f"a .data folder holds only {keys}"
        raise InvalidWheel(path, Rule.DATA_KEY, reason, name)
    return _AREAS_OF_DATA[key], inner


def _check_own(path: Path, member: Member, name: str) -> None:
    """Check that a file's name is for a wheel of ``name`` to give: nobody else's."""
    top, _, below = member.path.partition("/")
    if member.area is Area.METADATA:
        written = _WRITTEN.get(member_names.fold(top))
        if written is not None and (below or top != written):
            reason = f"installers write a file {written} there"
            raise InvalidWheel(path, Rule.DIST_INFO, reason, member.name)
    if member.area is not Area.TREE:
        return
    if tree.is_ours(member.path):
        reason = "a name that commonwheel keeps for itself"
        raise InvalidWheel(path, Rule.OUR_NAME, reason, member.name)
    if top.lower().endswith(".dist-info"):
        reason = "metadata is in the wheel's .dist-info folder only"
        raise InvalidWheel(path, Rule.ANOTHERS_FOLDER, reason, member.name)
    egg = tree.egg(member.path)
    if egg is None:
        return
    own_name = egg.rpartition(".")[0].partition("-")[0]  # as importlib.metadata has it
    if canonicalize_name(own_name) != name:
        reason = f"{egg} does not belong to {name}"
        raise InvalidWheel(path, Rule.ANOTHERS_FOLDER, reason, member.name)


def _check_places(path: Path, members: Iterable[Member], most: int) -> None:
    """``x.data/purelib/pkg/a`` and ``pkg/a`` are two members for one place."""
    places: dict[str, Member] = {}
    for member in members:
        place = f"{member.area.value}/{member.path}"
        if place in places:
            reason = f"it belongs at the same place as {places[place].name}"
            raise InvalidWheel(path, Rule.DUPLICATE, reason, member.name)
        places[place] = member
    for place in sorted(tree.folders(places) & places.keys()):
        reason = "it belongs at a place where there is a folder too"
        raise InvalidWheel(path, Rule.FILE_AND_FOLDER, reason, places[place].name)
    member_names.check_apart(path, places, (), most)


def _check_environment(
    path: Path, members: Iterable[Member], scripts: Iterable[EntryPointScript]
) -> None:
    """What would lie outside site-packages leaves the environment as it is."""
    shipped = [member.path for member in members if member.area is Area.SCRIPTS]
    data = [member.path for member in members if member.area is Area.DATA]
    entry_points.check_data(path, data)
    generated = [script.name for script in scripts]
    entry_points.check_scripts(path, generated, shipped, data)


def _remarks(members: Iterable[Member]) -> Iterator[str]:
    for member in members:
        if member.packed.mode & _SPECIAL_BITS:
            yield f"{member.name} has lost the setuid, setgid or sticky bit of its mode"
        if member.area is not Area.TREE:
            continue
        if tree.is_customization(member.path):
            yield f"{member.path} is run by every Python that starts there"
        egg = tree.egg(member.path)
        if egg is not None:
            yield f"{egg} is left out: the wheel's .dist-info says what it is"
