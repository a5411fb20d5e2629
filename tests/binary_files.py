"""Binaries written by hand: nothing in them but what they ask for.

The builders know nothing of the code under test.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_ADDRESS = 0x10000
"""Where files are mapped to in memory, so that no address is an offset."""


def elf(
    needed: Sequence[str] = (),
    runpath: str = "",
    name: str = "",
    *,
    rpath: str = "",
    bits: int = 64,
    end: str = "<",
    interpreter: bool = False,
) -> bytes:
    """A shared object; with an ``interpreter`` a program."""
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    tagged = [(1, each) for each in needed]
    tagged += [(14, name), (15, rpath), (29, runpath)]
    for tag, text in tagged:
        if text:
            tags.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    wide = bits == 64
    header, segment, tag_size = (64, 56, 16) if wide else (52, 32, 8)
    count = 3 if interpreter else 2
    dynamic = header + count * segment
    table = dynamic + (len(tags) + 2) * tag_size
    tags += [(5, _ADDRESS + table), (0, 0)]
    size = table + len(strings)
    segments = [(1, 0, size), (2, dynamic, len(tags) * tag_size)]
    segments += [(3, table, 1)] * interpreter
    return b"".join(
        (
            bytes((0x7F, *b"ELF", 2 if wide else 1, 1 if end == "<" else 2, 1)),
            bytes(9),
            struct.pack(f"{end}HHI", 3, 62, 1),
            struct.pack(f"{end}QQQ" if wide else f"{end}III", 0, header, 0),
            struct.pack(f"{end}IHHHHHH", 0, header, segment, count, 0, 0, 0),
            *(_segment(*each, wide=wide, end=end) for each in segments),
            *(struct.pack(f"{end}qQ" if wide else f"{end}iI", *each) for each in tags),
            strings,
        )
    )


def _segment(kind: int, offset: int, size: int, *, wide: bool, end: str) -> bytes:
    address = _ADDRESS + offset
    if wide:
        return struct.pack(
            f"{end}IIQQQQQQ", kind, 4, offset, address, address, size, size, 8
        )
    return struct.pack(f"{end}IIIIIIII", kind, offset, address, address, size, size, 4, 4)


def mach_o(
    needed: Sequence[str] = (),
    search: Sequence[str] = (),
    name: str = "",
    *,
    bits: int = 64,
    end: str = "<",
    program: bool = False,
    kind: int = 0x0C,
) -> bytes:
    """A library or a program; ``kind`` is of the commands that load a library."""
    texts = [(kind, each, 24) for each in needed]
    texts += [(0x8000001C, each, 12) for each in search]
    texts += [(0x0D, name, 24)] if name else []
    commands = [struct.pack(f"{end}IIII", 0x1B, 16, 0, 0)]  # one of another kind
    for command, text, offset in texts:
        data = text.encode() + b"\0"
        size = -(-(offset + len(data)) // 8) * 8
        start = struct.pack(f"{end}III", command, size, offset)
        commands.append((start.ljust(offset, b"\0") + data).ljust(size, b"\0"))
    body = b"".join(commands)
    magic = 0xFEEDFACF if bits == 64 else 0xFEEDFACE
    file_type = 2 if program else 6
    fields = (magic, 7, 3, file_type, len(commands), len(body), 0)
    reserved = bytes(4 if bits == 64 else 0)
    return struct.pack(f"{end}7I", *fields) + reserved + body


def fat(*parts: bytes, bits: int = 32) -> bytes:
    """A Mach-O file for several architectures."""
    offset = 8 + len(parts) * (20 if bits == 32 else 32)
    table = b""
    for part in parts:
        layout = ">IIIII" if bits == 32 else ">IIQQII"
        fields = (7, 3, offset, len(part), 0, 0)[: len(layout) - 1]
        table += struct.pack(layout, *fields)
        offset += len(part)
    magic = 0xCAFEBABE if bits == 32 else 0xCAFEBABF
    return struct.pack(">II", magic, len(parts)) + table + b"".join(parts)


def pe(
    needed: Sequence[str] = (),
    delayed: Sequence[str] = (),
    name: str = "",
    *,
    bits: int = 64,
) -> bytes:
    """A DLL with one section."""
    content = bytearray(16)

    def place(data: bytes) -> int:
        content.extend(data)
        return _ADDRESS + len(content) - len(data)

    def text(value: str) -> int:
        return place(value.encode() + b"\0")

    rows = [struct.pack("<IIIII", 0, 0, 0, text(each), 0) for each in needed]
    imports = place(b"".join(rows) + bytes(20)) if needed else 0
    rows = [struct.pack("<II24x", 1, text(each)) for each in delayed]
    delays = place(b"".join(rows) + bytes(32)) if delayed else 0
    exports = place(struct.pack("<12xI24x", text(name))) if name else 0
    tables = [exports, imports, *[0] * 11, delays, 0, 0]
    optional = struct.pack("<H", 0x20B if bits == 64 else 0x10B)
    optional = optional.ljust(108 if bits == 64 else 92, b"\0")
    optional += struct.pack("<I", len(tables))
    optional += b"".join(struct.pack("<II", each, 40) for each in tables)
    start = 64 + 24 + len(optional) + 40
    sizes = (len(content), _ADDRESS, len(content), start)
    return b"".join(
        (
            b"MZ".ljust(60, b"\0") + struct.pack("<I", 64),
            b"PE\0\0"
            + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022),
            optional,
            struct.pack("<8sIIII16x", b".rdata", *sizes),
            content,
        )
    )
