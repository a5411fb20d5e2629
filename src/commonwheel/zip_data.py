"""The data of a member of a zip archive, unpacked exactly: not a byte more or less.

Sections are those of APPNOTE.TXT, see :mod:`commonwheel.zip_archive`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from commonwheel.errors import InvalidWheel
from commonwheel.wheel_rules import WheelRule as Rule

_BLOCK = 1 << 18
"""Bytes that are held at once of a member that is being unpacked."""


@dataclass(frozen=True)
class Packed:
    """One member of an archive."""

    name: str
    """Ends with ``/`` if it is a folder."""
    mode: int
    """Of Unix, as :func:`os.stat` gives it; 0 if the archive does not say."""
    deflated: bool
    crc: int
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes when unpacked."""
    begin: int
    """Where its local header is."""
    data: int
    """Where its data is."""

    @property
    def is_folder(self) -> bool:
        """Whether the name says so (4.4.17.1)."""
        return self.name.endswith("/")


def unpack(path: Path, file: BinaryIO, member: Packed) -> Iterator[bytes]:
    """The contents of a member of the archive ``file``, in blocks of at most 256 KiB.

    ``path`` is for messages. Never more bytes than the archive says; the CRC is compared
    at the end.

    :raises InvalidWheel: the data is damaged, or not what the archive says
    :raises OSError: the file cannot be read
    """
    file.seek(member.data)
    inflated = _inflate if member.deflated else _copy
    crc = size = 0
    try:
        for block in inflated(file, member.packed):
            crc = zlib.crc32(block, crc)
            size += len(block)
            if size > member.size:
                break
            yield block
    except (zlib.error, EOFError) as error:
        reason = f"damaged or incomplete: {error}"
        raise InvalidWheel(path, Rule.CONTENTS, reason, member.name) from error
    if size != member.size:
        more = "more than" if size > member.size else f"{size:,} bytes, not"
        reason = f"{more} the {member.size:,} bytes that are said"
        raise InvalidWheel(path, Rule.CONTENTS, reason, member.name)
    if crc != member.crc:
        raise InvalidWheel(path, Rule.CONTENTS, "damaged: its CRC is wrong", member.name)


def _copy(file: BinaryIO, left: int) -> Iterator[bytes]:
    """``left`` stored bytes of ``file``.

    :raises EOFError: it has fewer
    """
    while left:
        block = file.read(min(left, _BLOCK))
        if not block:
            raise EOFError("the file ends")
        left -= len(block)
        yield block


def _inflate(file: BinaryIO, left: int) -> Iterator[bytes]:
    """What ``left`` deflated bytes of ``file`` unpack to: they are one stream, exactly.

    :raises EOFError: they end before the stream does, or after
    :raises zlib.error: they are no such stream
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    while not stream.eof:
        packed = stream.unconsumed_tail
        if not packed:
            packed = file.read(min(left, _BLOCK))
            left -= len(packed)
        block = stream.decompress(packed, _BLOCK)
        if block:
            yield block
        elif not packed:
            raise EOFError("the data ends too early")
    if left or stream.unused_data:
        raise EOFError("there is something behind the data")
