"""PE: Microsoft, "PE Format"."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from commonwheel.binaries.binary import Binary
from commonwheel.binaries.data import MOST, Damaged, Data

MAGIC = b"MZ"
"""The first bytes."""
_DIRECTORIES = {0x10B: 96, 0x20B: 112}
"""Where in the optional header they begin: PE32, PE32+."""
_MOST_SECTIONS = 96
"""That Windows loads."""
_EXPORTS, _IMPORTS, _DELAYED = 0, 1, 13
"""Which of the tables is which."""


def read(data: Data) -> Binary:
    """What a PE file asks for.

    :raises Damaged: it makes no sense
    """
    (header,) = data.unpack("<I", 0x3C)
    sections, size = data.unpack("<H12xH", header + 6)
    optional = header + 24
    (magic,) = data.unpack("<H", optional)
    if data.take(header, 4) != b"PE\0\0" or magic not in _DIRECTORIES:
        raise Damaged
    directories = optional + _DIRECTORIES[magic]
    (count,) = data.unpack("<I", directories - 4)
    found = _Addresses(
        data,
        tables=[
            data.unpack("<I", directories + number * 8)[0]
            for number in range(min(count, _DELAYED + 1))
        ],
        sections=[
            data.unpack("<III", optional + size + number * 40 + 12)
            for number in range(min(sections, _MOST_SECTIONS))
        ],
    )
    imports = found.names(_IMPORTS, "<12xI4x"), found.names(_DELAYED, "<4xI24x")
    name = next(found.names(_EXPORTS, "<12xI24x"), None)
    return Binary(tuple(itertools.chain(*imports)), (), name)


class _Addresses(NamedTuple):
    """What it takes to follow addresses in a PE file."""

    data: Data
    tables: list[int]
    """Their addresses; zero for none."""
    sections: list[tuple[Any, ...]]
    """Address, size in the file, offset in the file."""

    def names(self, table: int, row: str) -> Iterator[str]:
        """The names of libraries that the rows of a table say the addresses of."""
        if table < len(self.tables) and self.tables[table]:
            start, size = self._offset(self.tables[table]), struct.calcsize(row)
            for number in range(MOST):
                (name,) = self.data.unpack(row, start + number * size)
                if not name:
                    return
                yield self.data.string(self._offset(name)).lower()

    def _offset(self, place: int) -> int:
        for address, length, offset in self.sections:
            if address <= place < address + length:
                return int(place - address + offset)
        raise Damaged
