"""A wheel, as its archive describes it. Reads strictly, writes nothing.

Follows https://packaging.python.org/en/latest/specifications/binary-distribution-format/
and is stricter than installers have been: what RECORD says must be true, both ways.
"""

from __future__ import annotations

import configparser
import email.parser
import errno
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from installer.utils import parse_entrypoints
from packaging.tags import Tag
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from commonwheel import record, tree
from commonwheel.errors import InvalidWheel

STRONG_HASHES = frozenset(
    {
        *("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"),
        *("blake2b", "blake2s"),
    }
)
"""As good as sha256 or better, and known to every Python."""
UNRECORDED = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
"""Members of ``.dist-info`` that RECORD does not vouch for."""

_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression or version that zipfile does not know
    RuntimeError,  # encrypted
    KeyError,  # another archive than it was a moment ago
    ValueError,  # offsets and names that make no sense
    struct.error,
    OverflowError,
)
"""What :mod:`zipfile` raises when an archive is not as it should be."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_OURS = re.compile(r"^(00)?_commonwheel|(^|/)\.([^/]+\.)?commonwheel(/|$)")
"""Our files in site-packages, and those in the view."""


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


@dataclass(frozen=True)
class EntryPointScript:
    """A script that an installer generates for an entry point."""

    name: str
    module: str
    attribute: str
    gui: bool


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

    @property
    def prefix(self) -> str:
        """``NAME-VERSION`` as the file name escapes them."""
        return "-".join(self.path.name.split("-")[:2])


def read(path: Path) -> Wheel:
    """Read the wheel file ``path``.

    The contents of its members are not read, only its metadata: their hashes are
    compared when they are unpacked.

    :raises InvalidWheel: the file is not a wheel; says why
    :raises OSError: the file cannot be read
    """
    name, version, supported = _parse_filename(path)
    with open_archive(path) as archive:
        return _read_archive(path, archive, name, version, supported)


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive that the file ``path`` is.

    :raises InvalidWheel: it is not a zip archive, or not a complete one
    :raises OSError: the file cannot be read
    """
    with reading(path):
        return zipfile.ZipFile(path)


@contextmanager
def reading(path: Path, member: str | None = None) -> Iterator[None]:
    """What :mod:`zipfile` raises for a bad archive becomes InvalidWheel."""
    reason = "damaged or incomplete"
    try:
        yield
    except _DAMAGED as error:
        raise InvalidWheel(path, f"{reason} ({error})", member) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # zipfile was sent to a place before the beginning of the file
        raise InvalidWheel(path, reason, member) from error


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
        raise InvalidWheel(path, str(error)) from error
    return name, version, supported


def _read_archive(
    path: Path,
    archive: zipfile.ZipFile,
    name: str,
    version: Version,
    supported: frozenset[Tag],
) -> Wheel:
    files = _list_files(path, archive)
    dist_info = _find_dist_info(path, files, name, version)

    def text(name: str) -> str:
        member = f"{dist_info}/{name}"
        if member not in files:
            raise InvalidWheel(path, f"it has no {member}")
        with reading(path, member):
            content = archive.read(member)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidWheel(path, "not UTF-8", member) from None

    _check_metadata(path, text("METADATA"), name, version)
    root_is_purelib = _read_wheel_file(path, text("WHEEL"))
    rows = _read_record(path, text("RECORD"), f"{dist_info}/RECORD")
    members = tuple(_member(path, info, dist_info, rows) for info in files.values())
    _check_complete(path, files, rows)
    _check_places(path, members)
    scripts: tuple[EntryPointScript, ...] = ()
    if f"{dist_info}/entry_points.txt" in files:
        scripts = _read_entry_points(path, text("entry_points.txt"))
    return Wheel(
        path,
        name,
        str(version),
        supported,
        dist_info,
        root_is_purelib,
        members,
        scripts,
    )


def _list_files(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by name; every name is safe to join to a folder."""
    files: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    for info in archive.infolist():
        is_folder = info.filename.endswith("/")  # is_dir() fails if there is no name
        name = info.filename.rstrip("/")
        _check_name(path, name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InvalidWheel(path, "neither a file nor a folder", name)
        if is_folder:
            folders.add(name)
        elif name in files:
            raise InvalidWheel(path, "it is there twice", name)
        else:
            files[name] = info
    for name in sorted((folders | tree.folders(files)) & files.keys()):
        raise InvalidWheel(path, "both a file and a folder", name)
    return files


def _check_name(path: Path, name: str) -> None:
    if "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidWheel(path, "a path that leaves the archive or is ambiguous", name)
    if os.path.isabs(name) or name[1:2] == ":":
        raise InvalidWheel(path, "an absolute path", name)
    if _CONTROL.search(name):
        raise InvalidWheel(path, "a path with a control character or line break", name)


def _find_dist_info(
    path: Path, files: dict[str, zipfile.ZipInfo], name: str, version: Version
) -> str:
    tops = {file.partition("/")[0] for file in files if "/" in file}
    candidates = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(candidates) != 1:
        found = ", ".join(candidates) or "none"
        raise InvalidWheel(path, f"it must have one .dist-info folder (found: {found})")
    own_name, _, own_version = candidates[0].removesuffix(".dist-info").rpartition("-")
    if not _agree(own_name, own_version, name, version):
        reason = f"the folder {candidates[0]} does not belong to {name} {version}"
        raise InvalidWheel(path, reason)
    for top in sorted(tops):
        own_name, _, own_version = top.removesuffix(".data").rpartition("-")
        if top.endswith(".data") and not _agree(own_name, own_version, name, version):
            reason = f"the folder {top} does not belong to {name} {version}"
            raise InvalidWheel(path, reason)
    return candidates[0]


def _agree(own_name: str, own_version: str, name: str, version: Version) -> bool:
    try:
        return canonicalize_name(own_name) == name and Version(own_version) == version
    except InvalidVersion:
        return False


def _check_metadata(path: Path, text: str, name: str, version: Version) -> None:
    headers = email.parser.HeaderParser().parsestr(text)
    own_name, own_version = str(headers["Name"]), str(headers["Version"])
    if not _agree(own_name, own_version, name, version):
        reason = f"METADATA is of {own_name} {own_version}, not of {name} {version}"
        raise InvalidWheel(path, reason)


def _read_wheel_file(path: Path, text: str) -> bool:
    headers = email.parser.HeaderParser().parsestr(text)
    version = str(headers["Wheel-Version"])
    if version.partition(".")[0] != "1":
        raise InvalidWheel(path, f"Wheel-Version {version} is not supported (only 1.x)")
    return str(headers["Root-Is-Purelib"]).lower() == "true"


def _read_record(path: Path, text: str, name: str) -> dict[str, record.Row]:
    rows: dict[str, record.Row] = {}
    try:
        for row in record.parse(text):
            if rows.setdefault(row.path, row) != row:
                raise InvalidWheel(path, "RECORD lists it twice, differently", row.path)
    except ValueError as error:
        raise InvalidWheel(path, f"not a list of files ({error})", name) from error
    return rows


def _member(
    path: Path, info: zipfile.ZipInfo, dist_info: str, rows: dict[str, record.Row]
) -> Member:
    """Where a file belongs and what RECORD says of it."""
    name = info.filename
    top, _, rest = name.partition("/")
    if top == dist_info:
        area, inner = Area.METADATA, rest
    elif top.endswith(".data") and rest:
        key, _, inner = rest.partition("/")
        if key not in _AREAS_OF_DATA or not inner:
            keys = ", ".join(sorted(_AREAS_OF_DATA))
            raise InvalidWheel(path, f"a .data folder holds only {keys}", name)
        area = _AREAS_OF_DATA[key]
    else:
        area, inner = Area.TREE, name
    if area is Area.TREE and _OURS.search(inner):
        raise InvalidWheel(path, "a name that commonwheel keeps for itself", name)
    permissions = info.external_attr >> 16
    executable = stat.S_ISREG(permissions) and bool(permissions & 0o111)
    if area is Area.METADATA and inner in UNRECORDED:
        return Member(name, area, inner, info.file_size, "", executable)
    if name not in rows:
        raise InvalidWheel(path, "RECORD does not list it", name)
    row = rows[name]
    algorithm = row.hash.partition("=")[0]
    if algorithm not in STRONG_HASHES:
        raise InvalidWheel(path, "RECORD has no sha256 (or better) hash of it", name)
    if row.size and int(row.size) != info.file_size:
        reason = f"RECORD says {row.size} bytes, the archive {info.file_size}"
        raise InvalidWheel(path, reason, name)
    return Member(name, area, inner, info.file_size, row.hash, executable)


def _check_complete(
    path: Path, files: dict[str, zipfile.ZipInfo], rows: dict[str, record.Row]
) -> None:
    for listed in rows:
        if listed not in files and not listed.endswith("/"):
            raise InvalidWheel(
                path, "RECORD lists it, the archive has no such file", listed
            )


def _check_places(path: Path, members: Iterable[Member]) -> None:
    """``x.data/purelib/pkg/a`` and ``pkg/a`` are two members for one place."""
    places: dict[str, Member] = {}
    for member in members:
        place = f"{member.area.value}/{member.path}"
        if place in places:
            reason = f"it belongs at the same place as {places[place].name}"
            raise InvalidWheel(path, reason, member.name)
        places[place] = member
    for place in sorted(tree.folders(places) & places.keys()):
        reason = "it belongs at a place where there is a folder too"
        raise InvalidWheel(path, reason, places[place].name)


def _read_entry_points(path: Path, text: str) -> tuple[EntryPointScript, ...]:
    """The scripts of https://packaging.python.org/en/latest/specifications/entry-points/"""
    try:
        points = list(parse_entrypoints(text))
    except (configparser.Error, AssertionError, AttributeError, ValueError) as error:
        # the last but one is the second without assertions (`python -O`)
        reason = str(error) or "a script is not NAME = MODULE:FUNCTION"
        raise InvalidWheel(path, reason, "entry_points.txt") from error
    for name, module, attribute, _ in points:
        if _CONTROL.search(name) or set(name) & {"/", "\\"} or name in ("", ".", ".."):
            raise InvalidWheel(path, f"{name!r} cannot name a script", "entry_points.txt")
        if not module or not attribute:
            reason = f"the script {name!r} needs a MODULE:FUNCTION"
            raise InvalidWheel(path, reason, "entry_points.txt")
    return tuple(
        EntryPointScript(name, module, attribute, section == "gui")
        for name, module, attribute, section in points
    )
