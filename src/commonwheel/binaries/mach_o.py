"""Mach-O: ``<mach-o/loader.h>``, ``<mach-o/fat.h>`` and ``dyld(1)``."""

from __future__ import annotations

import struct

from commonwheel.binaries.binary import Binary
from commonwheel.binaries.data import MOST, Damaged, Data

MAGIC = {
    b"\xfe\xed\xfa\xce": (">", 28),
    b"\xce\xfa\xed\xfe": ("<", 28),
    b"\xfe\xed\xfa\xcf": (">", 32),
    b"\xcf\xfa\xed\xfe": ("<", 32),
}
"""By the first bytes: byte order, and size of the header."""
FAT_MAGIC = {b"\xca\xfe\xba\xbe": ">8xI8x", b"\xca\xfe\xba\xbf": ">8xQ16x"}
"""By the first bytes: where it says the place of the file for one architecture."""
_MOST_ARCHITECTURES = 20
"""Java's classes begin with the same bytes as fat files; then follows their version,
which is 45 or more."""
_MH_EXECUTE = 2
_LC_ID_DYLIB, _LC_RPATH = 0x0D, 0x8000001C
_LC_LOADING = frozenset({0x0C, 0x20, 0x80000018, 0x8000001F, 0x80000023})
"""LC_LOAD_DYLIB and its kinds: lazy, weak, re-exported, upward."""


def read(data: Data) -> Binary:
    """What a file for one architecture asks for.

    :raises Damaged: it makes no sense
    """
    magic = data.take(0, 4)
    if magic not in MAGIC:
        raise Damaged  # a part of a fat file may be an archive of objects
    end, header = MAGIC[magic]
    kind, count = data.unpack(f"{end}II", 12)
    needed: list[str] = []
    search: list[str] = []
    name = None
    offset = header
    for _ in range(min(count, MOST)):
        command, size, place = data.unpack(f"{end}III", offset)
        if command in _LC_LOADING:
            needed.append(data.string(offset + place))
        elif command == _LC_RPATH:
            search.append(data.string(offset + place))
        elif command == _LC_ID_DYLIB:
            name = data.string(offset + place)
        offset += size
    return Binary(tuple(needed), tuple(search), name, kind == _MH_EXECUTE)


def read_fat(data: Data) -> Binary:
    """All that the files for several architectures, in one, ask for.

    :raises Damaged: it makes no sense
    """
    layout = FAT_MAGIC[data.take(0, 4)]
    (count,) = data.unpack(">I", 4)
    if count > _MOST_ARCHITECTURES:
        raise Damaged
    parts = [
        read(data.part(*data.unpack(layout, 8 + number * struct.calcsize(layout))))
        for number in range(count)
    ]
    return Binary(
        tuple(dict.fromkeys(name for part in parts for name in part.needed)),
        tuple(dict.fromkeys(place for part in parts for place in part.search)),
        next((part.name for part in parts if part.name is not None), None),
        any(part.program for part in parts),
    )
