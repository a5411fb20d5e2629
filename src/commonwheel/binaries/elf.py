"""ELF: System V ABI, chapters 4 and 5, and ``ld.so(8)``."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from commonwheel.binaries.binary import Binary
from commonwheel.binaries.data import MOST, Damaged, Data

MAGIC = b"\x7fELF"
"""The first bytes."""


class _Width(NamedTuple):
    """Where things are, and of which kind, in the two widths of ELF."""

    table: str
    """Offset of the program header table."""
    table_at: int
    shape_at: int
    """Size and number of program headers."""
    segment: str
    """Type, offset in the file, address, size in the file."""
    tag: str


_WIDTHS = {
    1: _Width("I", 28, 42, "III4xI", "iI"),
    2: _Width("Q", 32, 54, "I4xQQ8xQ", "qQ"),
}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 14, 15, 29


def read(data: Data) -> Binary:
    """What an ELF file asks for.

    :raises Damaged: it makes no sense
    """
    width, order = data.unpack("BB", 4)
    if width not in _WIDTHS or order not in (1, 2):
        raise Damaged
    layout, end = _WIDTHS[width], "<>"[order - 1]
    (table,) = data.unpack(end + layout.table, layout.table_at)
    size, count = data.unpack(f"{end}HH", layout.shape_at)
    segments = [
        data.unpack(end + layout.segment, table + number * size)
        for number in range(min(count, MOST))
    ]
    dynamic = [(at, length) for kind, at, _, length in segments if kind == _PT_DYNAMIC]
    tags = list(_tags(data, end + layout.tag, *dynamic[0])) if dynamic else []
    strings = _strings(tags, segments) if tags else 0

    def named(*kinds: int) -> list[str]:
        return [data.string(strings + value) for kind, value in tags if kind in kinds]

    paths = named(_DT_RPATH, _DT_RUNPATH)
    name = next(iter(named(_DT_SONAME)), None)
    return Binary(
        tuple(named(_DT_NEEDED)),
        tuple(each for path in paths for each in path.split(":") if each),
        name,
        # some libraries say what they are when they are run
        program=name is None and any(kind == _PT_INTERP for kind, *_ in segments),
    )


def _tags(data: Data, layout: str, offset: int, length: int) -> Iterator[tuple[int, int]]:
    size = struct.calcsize(layout)
    for number in range(min(length // size, MOST)):
        kind, value = data.unpack(layout, offset + number * size)
        if kind == _DT_NULL:
            return
        yield kind, value


def _strings(tags: Iterable[tuple[int, int]], segments: Iterable[tuple[Any, ...]]) -> int:
    """Where in the file the strings are; a tag has their address in memory."""
    for kind, place in tags:
        if kind == _DT_STRTAB:
            for type_, offset, address, length in segments:
                if type_ == _PT_LOAD and address <= place < address + length:
                    return int(place - address + offset)
    raise Damaged
