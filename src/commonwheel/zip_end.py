"""The end of a zip archive, which says where its central folder is: there is one only.

Sections are those of APPNOTE.TXT, see :mod:`commonwheel.zip_archive`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from commonwheel.errors import InvalidWheel
from commonwheel.wheel_rules import WheelRule as Rule

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
"""Instead of a number that is in a zip64 record, 4.4.1.4."""
NEWEST = 45
"""The version of the format that zip64 needs, 4.4.3.2; those after it compress with
something else than deflate."""

_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END = struct.Struct("<4s4H2LH")  # 4.3.16
_LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True)
class End:
    """Where the central folder is."""

    count: int
    """Of the members."""
    begin: int
    size: int
    """In bytes."""


def find_end(path: Path, file: BinaryIO) -> End:
    """What the end records of the archive ``file`` say; ``path`` is for messages.

    :raises InvalidWheel: it has none, or more than one, or they make no sense
    :raises OSError: it cannot be read
    """
    return _Tail(path, file).read()


class _Tail:
    """The last bytes of a file, as far back as any reader looks for its end record."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        length = file.seek(0, 2)
        before = _LONGEST_COMMENT + _END.size + _LOCATOR.size + _END64.size
        self._first = max(0, length - before)
        file.seek(self._first)
        self._bytes = file.read()

    def _refuse(self, rule: Rule, reason: str) -> NoReturn:
        raise InvalidWheel(self._path, rule, reason)

    def read(self) -> End:
        begin = len(self._bytes) - _END.size
        if begin < 0 or not self._bytes.startswith(b"PK\5\6", begin):
            reason = "damaged or incomplete: it does not end in an end record"
            self._refuse(Rule.END_RECORD, reason)
        record = self._bytes[begin:]
        _, disk, central_disk, here, count, size, offset, comment = _END.unpack(record)
        if comment:
            self._refuse(Rule.END_RECORD, "incomplete: the file ends in a comment")
        self._check_no_other(begin)
        if (disk, central_disk) != (0, 0) or here != count:
            self._refuse(Rule.ONE_DISK, "a part of an archive of several")
        end = End(count, offset, size)
        locator = begin - _LOCATOR.size
        # zipfile writes one for what needs 32 bits, not 31, and none for 65,535 members
        if locator >= 0 and self._bytes.startswith(b"PK\6\7", locator):
            begin, end = self._read_zip64(locator, end)
        elif FULL32 in (size, offset):
            self._refuse(Rule.ZIP64, "the zip64 end locator is missing")
        if end.begin + end.size != self._first + begin:
            reason = "the central folder is not right before the end record"
            self._refuse(Rule.CENTRAL_FOLDER, reason)
        return end

    def _check_no_other(self, begin: int) -> None:
        """Readers look for the end backwards, some forwards: they find the same one."""
        found = self._bytes.find(b"PK\5\6")
        while found < begin:
            comment = int.from_bytes(self._bytes[found + 20 : found + 22], "little")
            if found + _END.size + comment == len(self._bytes):
                self._refuse(Rule.END_RECORD, "there are two end records")
            found = self._bytes.find(b"PK\5\6", found + 1)
        if self._bytes.find(b"PK\5\6", begin + 1) >= 0:
            self._refuse(Rule.END_RECORD, "there is an end record in the end record")

    def _read_zip64(self, locator: int, small: End) -> tuple[int, End]:
        """Where the zip64 end record is, and what it says (4.3.14, 4.3.15)."""
        begin = locator - _END64.size
        _, disk, offset, disks = _LOCATOR.unpack_from(self._bytes, locator)
        if begin < 0 or offset != self._first + begin:
            self._refuse(Rule.ZIP64, "the zip64 end record is not before its locator")
        signature, size, _, needed, *disks_of, here, count, length, place = (
            _END64.unpack_from(self._bytes, begin)
        )
        if signature != b"PK\6\6" or size != _END64.size - 12 or needed > NEWEST:
            self._refuse(Rule.ZIP64, "the zip64 end record is damaged")
        if (disk, disks, *disks_of) != (0, 1, 0, 0) or here != count:
            self._refuse(Rule.ONE_DISK, "a part of an archive of several")
        for said, value, full in (
            (small.count, count, FULL16),
            (small.size, length, FULL32),
            (small.begin, place, FULL32),
        ):
            if said not in (value, full):
                self._refuse(Rule.ZIP64, "the two end records contradict each other")
        return begin, End(count, place, length)
