"""A zip archive, read strictly: one meaning, or none.

The format can say the same thing in several places, and readers differ in which one they
believe (the standard library's :mod:`zipfile` from version to version). Here all have to
agree, and every byte has to belong to something, so that what is accepted means the same
to every reader. Sections are those of APPNOTE.TXT 6.3.10,
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
::

    local header, name, extra fields, data, maybe a data descriptor     of each member
    central header, name, extra fields                                  of each member
    zip64 end record, zip64 end locator                                 maybe
    end record
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from commonwheel.errors import InvalidWheel
from commonwheel.limits import Limits, exceeded
from commonwheel.wheel_rules import WheelRule as Rule
from commonwheel.zip_data import Packed, unpack
from commonwheel.zip_end import FULL32, NEWEST, End, find_end

_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
_CENTRAL = struct.Struct("<4s6H3L5H2L")  # 4.3.12

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # 4.4.4
_DESCRIPTOR = 0x0008
_UTF8 = 0x0800
_KNOWN_FLAGS = 0x0002 | 0x0004 | _DESCRIPTOR | _UTF8
_STORED, _DEFLATED = 0, 8  # 4.4.5
_MSDOS_FOLDER = 0x10  # 4.4.15
_ZIP64_FIELD = 0x0001  # 4.5.3
_NAME_FIELD = 0x7075  # 4.6.9


@dataclass(frozen=True)
class _Listed:
    """What the central folder says of a member."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    begin: int


class ZipArchive:
    """An open file that is a zip archive."""

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        limits: Limits,
        is_metadata: Callable[[bytes], object] = lambda _: False,
    ) -> None:
        """Read all headers of the archive ``file``; ``path`` is for messages.

        ``is_metadata`` says of a name whether that member will be read as a whole.

        :raises InvalidWheel: it breaks a rule of the format, or exceeds a limit
        :raises OSError: it cannot be read
        """
        self._path = path
        self._file = file
        self._limits = limits
        self._is_metadata = is_metadata
        self._length = file.seek(0, 2)
        end = find_end(path, file)
        listed = self._read_central_folder(end)
        self.members = self._read_local_headers(listed, end.begin)
        """In the order of the central folder."""
        self._check_size()

    def read(self, member: Packed) -> bytes:
        """All of a member that holds metadata.

        :raises InvalidWheel: it is damaged, or larger than the limit
        :raises OSError: the file cannot be read
        """
        limit = self._limits.metadata
        if member.size > limit:
            reason = exceeded("metadata", f"{member.size:,} bytes", limit, member.size)
            raise InvalidWheel(self._path, Rule.METADATA_LIMIT, reason, member.name)
        return b"".join(unpack(self._path, self._file, member))

    def _refuse(self, rule: Rule, reason: str, name: str | None = None) -> NoReturn:
        raise InvalidWheel(self._path, rule, reason, name)

    def _at(self, offset: int, size: int) -> bytes:
        """As many bytes as the file has there, at most ``size``."""
        self._file.seek(offset)
        return self._file.read(size)

    # The central folder

    def _read_central_folder(self, end: End) -> list[_Listed]:
        """What it says of each member, after a look at how much that is."""
        limits = self._limits
        if end.count > limits.members:
            figure = f"it has {end.count:,} members"
            reason = exceeded("members", figure, limits.members, end.count)
            self._refuse(Rule.MEMBERS_LIMIT, reason)
        self._check_metadata(end)
        content = self._at(end.begin, end.size)
        listed: list[_Listed] = []
        position = 0
        while position < len(content) and len(listed) < end.count:
            each, position = self._read_listed(content, position)
            listed.append(each)
        if len(listed) != end.count or position != end.size:
            reason = f"the central folder does not hold {end.count:,} members"
            self._refuse(Rule.CENTRAL_FOLDER, reason)
        return listed

    def _check_metadata(self, end: End) -> None:
        """That nothing which is to be held as a whole is too large, before any of it is.

        A central folder that is none is refused when it is read.
        """
        limit, largest, what = self._limits.metadata, end.size, "its central folder"
        position = end.begin
        for _ in range(end.count):
            fixed = self._at(position, _CENTRAL.size)
            if len(fixed) < _CENTRAL.size or fixed[:4] != b"PK\1\2":
                break
            size, name_size, extra_size, comment_size = _CENTRAL.unpack(fixed)[9:13]
            name = self._file.read(name_size)
            if size > largest and self._is_metadata(name):
                largest, what = size, _shown(name)
            position += _CENTRAL.size + name_size + extra_size + comment_size
        if largest > limit:
            figure = f"{what} has {largest:,} bytes"
            reason = exceeded("metadata", figure, limit, largest)
            self._refuse(Rule.METADATA_LIMIT, reason)

    def _read_listed(self, content: bytes, position: int) -> tuple[_Listed, int]:
        """One header of the central folder (4.3.12), and where the next one is."""
        fixed = content[position : position + _CENTRAL.size]
        if len(fixed) < _CENTRAL.size or fixed[:4] != b"PK\1\2":
            self._refuse(Rule.CENTRAL_FOLDER, "the central folder is damaged")
        _, _, needed, flags, method, _, _, crc, packed, size, *rest = _CENTRAL.unpack(
            fixed
        )
        name_size, extra_size, comment_size, disk, _, attributes, begin = rest
        middle = position + _CENTRAL.size + name_size
        after = middle + extra_size
        if after + comment_size > len(content):
            self._refuse(Rule.CENTRAL_FOLDER, "the central folder is damaged")
        name = content[middle - name_size : middle]
        shown = _shown(name)
        if comment_size:
            self._refuse(Rule.COMMENT, "it has a comment", shown)
        if attributes & _MSDOS_FOLDER and not name.endswith(b"/"):
            reason = "its attributes say that it is a folder, its name does not"
            self._refuse(Rule.SPECIAL_FILE, reason, shown)
        if disk != 0:
            self._refuse(Rule.ONE_DISK, "it is in another part of the archive", shown)
        self._check_kind(flags, method, needed, shown)
        extra = self._extra_fields(content[middle:after], name, shown)
        size, packed, begin = self._widen((size, packed, begin), extra, shown)
        mode = attributes >> 16
        return _Listed(name, flags, method, crc, packed, size, mode, begin), after

    def _check_kind(self, flags: int, method: int, needed: int, shown: str) -> None:
        """That there is nothing but stored and deflated data."""
        if flags & _ENCRYPTED:
            self._refuse(Rule.ENCRYPTION, "it is encrypted", shown)
        unknown = flags & ~_KNOWN_FLAGS
        if method not in (_STORED, _DEFLATED) or unknown or needed > NEWEST:
            reason = f"compressed in an unknown way ({method}, flags {flags:#x})"
            self._refuse(Rule.COMPRESSION, reason, shown)

    def _extra_fields(self, data: bytes, name: bytes, shown: str) -> dict[int, bytes]:
        """Extra fields by what they are (4.5.1)."""
        found: dict[int, bytes] = {}
        position = 0
        while position < len(data):
            kind = int.from_bytes(data[position : position + 2], "little")
            size = int.from_bytes(data[position + 2 : position + 4], "little")
            begin, position = position + 4, position + 4 + size
            if position > len(data) or kind in found:
                reason = "an extra field is damaged, or there twice"
                self._refuse(Rule.EXTRA_FIELD, reason, shown)
            found[kind] = data[begin:position]
        other = found.get(_NAME_FIELD)
        if other is not None and other[5:] != name:
            self._refuse(Rule.EXTRA_FIELD, "an extra field gives another name", shown)
        return found

    def _widen(
        self, values: tuple[int, ...], extra: Mapping[int, bytes], shown: str
    ) -> tuple[int, ...]:
        """``values``, those that are full replaced by the zip64 field's (4.5.3)."""
        wide = extra.get(_ZIP64_FIELD, b"")
        is_full = [value == FULL32 for value in values]
        if len(wide) != 8 * sum(is_full) or (_ZIP64_FIELD in extra) != any(is_full):
            self._refuse(Rule.ZIP64, "its zip64 field is missing, or not needed", shown)
        numbers = iter(struct.unpack(f"<{sum(is_full)}Q", wide))
        return tuple(
            next(numbers) if full else value
            for value, full in zip(values, is_full, strict=True)
        )

    # The members themselves

    def _read_local_headers(self, listed: list[_Listed], end: int) -> tuple[Packed, ...]:
        """All members; they lie one after the other, up to ``end``."""
        self._check_names(listed)
        order = sorted(range(len(listed)), key=lambda index: listed[index].begin)
        members: dict[int, Packed] = {}
        expected = 0
        for place, index in enumerate(order, 1):
            each = listed[index]
            name = self._decode(each)
            if each.begin != expected:
                self._refuse_gap(each.begin - expected, name)
            limit = listed[order[place]].begin if place < len(order) else end
            members[index], expected = self._read_member(each, name, limit)
        if expected != end:
            self._refuse_gap(end - expected, None)
        return tuple(members[index] for index in range(len(listed)))

    def _refuse_gap(self, size: int, name: str | None) -> NoReturn:
        where = "before it" if name is not None else "before the central folder"
        if size < 0:
            self._refuse(Rule.OVERLAP, f"{-size:,} bytes {where} belong to another", name)
        self._refuse(Rule.GAP, f"{size:,} bytes {where} belong to nothing", name)

    def _check_names(self, listed: list[_Listed]) -> None:
        limit = self._limits.path
        longest = max((each.name for each in listed), key=len, default=b"")
        if len(longest) > limit:
            figure = f"its name has {len(longest):,} bytes"
            reason = exceeded("path", figure, limit, len(longest))
            self._refuse(Rule.PATH_LIMIT, reason, _shown(longest)[:64] + "...")

    def _decode(self, listed: _Listed) -> str:
        """A member's name (4.4.4, bit 11; appendix D)."""
        shown = _shown(listed.name)
        try:
            return listed.name.decode("utf-8" if listed.flags & _UTF8 else "ascii")
        except UnicodeDecodeError:
            reason = "its name is not ASCII, nor UTF-8 that says so"
            self._refuse(Rule.NAME_ENCODING, reason, shown)

    def _read_member(self, listed: _Listed, name: str, limit: int) -> tuple[Packed, int]:
        """A member, and where the next one begins: at ``limit``, or there is a gap."""
        header = self._at(listed.begin, _LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            self._refuse(Rule.LOCAL_HEADER, "it has no local header", name)
        name_size, extra_size = _LOCAL.unpack(header)[-2:]
        data = listed.begin + _LOCAL.size + name_size + extra_size
        if data + listed.packed > limit:
            self._refuse(Rule.OVERLAP, "its data is not all its own", name)
        rest = self._file.read(name_size + extra_size)
        extra = self._extra_fields(rest[name_size:], listed.name, name)
        self._check_local_header(listed, name, header, rest[:name_size], extra)
        deflated = listed.method == _DEFLATED
        if not deflated and listed.packed != listed.size:
            self._refuse(Rule.CONTENTS, "it is stored, in another size", name)
        after = data + listed.packed
        if listed.flags & _DESCRIPTOR:
            is_wide = _ZIP64_FIELD in extra
            after += self._check_descriptor(listed, name, after, limit, is_wide)
        member = Packed(
            *(name, listed.mode, deflated, listed.crc, listed.packed, listed.size),
            *(listed.begin, data),
        )
        return member, after

    def _check_local_header(
        self,
        listed: _Listed,
        name: str,
        header: bytes,
        own_name: bytes,
        extra: Mapping[int, bytes],
    ) -> None:
        """That the local header (4.3.7) says what the central folder says."""
        _, needed, flags, method, _, _, crc, packed, size, _, _ = _LOCAL.unpack(header)
        size, packed = self._widen_local(size, packed, extra, name)
        kind = (own_name, flags, method) == (listed.name, listed.flags, listed.method)
        right = (listed.crc, listed.packed, listed.size)
        # of what was deflated into a stream, they stand behind the data, and are 0 here
        # as far as they were not known
        is_streamed = bool(flags & _DESCRIPTOR and method == _DEFLATED)
        is_right = all(
            own == figure or (is_streamed and own == 0)
            for own, figure in zip((crc, packed, size), right, strict=True)
        )
        if not kind or not is_right:
            reason = "its local header is not what the central folder says"
            self._refuse(Rule.LOCAL_HEADER, reason, name)
        if needed > NEWEST:
            reason = f"it needs version {needed} of the format"
            self._refuse(Rule.COMPRESSION, reason, name)

    def _widen_local(
        self, size: int, packed: int, extra: Mapping[int, bytes], name: str
    ) -> tuple[int, int]:
        """Sizes in a local header: its zip64 field has both, and may be there in vain."""
        wide = extra.get(_ZIP64_FIELD)
        if wide is None and FULL32 not in (size, packed):
            return size, packed
        if wide is None or len(wide) != 16:
            self._refuse(Rule.ZIP64, "its zip64 field is missing, or damaged", name)
        wide_size, wide_packed = struct.unpack("<QQ", wide)
        if size not in (wide_size, FULL32) or packed not in (wide_packed, FULL32):
            self._refuse(Rule.ZIP64, "its sizes contradict each other", name)
        return wide_size, wide_packed

    def _check_descriptor(
        self, listed: _Listed, name: str, begin: int, limit: int, is_wide: bool
    ) -> int:
        """How long the data descriptor at ``begin`` is (4.3.9): that is not said."""
        layout = "<LQQ" if is_wide else "<LLL"
        if max(listed.packed, listed.size) > FULL32 and not is_wide:
            self._refuse(Rule.DATA_DESCRIPTOR, "its size needs 64 bits", name)
        right = struct.pack(layout, listed.crc, listed.packed, listed.size)
        found = self._at(begin, min(limit - begin, 4 + len(right)))
        # without the signature it must not look as if that were there
        if found == right and right[:4] != b"PK\7\x08":
            return len(right)
        if found != b"PK\7\x08" + right:
            reason = "its data descriptor is not what the central folder says"
            self._refuse(Rule.DATA_DESCRIPTOR, reason, name)
        return len(found)

    def _check_size(self) -> None:
        """That unpacking does not fill a disk."""
        limits, size = self._limits, sum(member.size for member in self.members)
        if size > limits.size:
            reason = exceeded("size", f"it unpacks to {size:,} bytes", limits.size, size)
            self._refuse(Rule.SIZE_LIMIT, reason)
        ratio = -(-size // self._length)
        if ratio > limits.ratio:
            figure = f"it unpacks to {size:,} bytes, {ratio:,} times its size"
            reason = exceeded("ratio", figure, limits.ratio, ratio)
            self._refuse(Rule.RATIO_LIMIT, reason)


def _shown(name: bytes) -> str:
    """A name that may not be text, for a message."""
    return name.decode("utf-8", "backslashreplace")
