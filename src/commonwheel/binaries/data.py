"""The bytes of a binary, of which little is read, and nothing believed."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

MOST = 1 << 14
"""Of whatever a binary has a table of. Real ones have some hundreds."""
_LONGEST = 1 << 13
"""Of a string in a binary, in bytes."""


class Damaged(Exception):
    """What a file says of itself makes no sense."""


class Data:
    """The bytes of a file, from ``start`` on."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        self._start = start
        self._size = os.fstat(file.fileno()).st_size - start

    def part(self, start: int) -> Data:
        """The same, from ``start`` on."""
        return Data(self._file, self._start + start)

    def take(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on.

        :raises Damaged: there are not so many
        """
        if not 0 <= offset <= self._size - size:
            raise Damaged
        self._file.seek(self._start + offset)
        found = self._file.read(size)
        if len(found) != size:
            raise Damaged
        return found

    def unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        """What is at ``offset``, by a ``layout`` of :mod:`struct`.

        :raises Damaged: it is not there
        """
        return struct.unpack(layout, self.take(offset, struct.calcsize(layout)))

    def string(self, offset: int) -> str:
        """The string at ``offset``, which ends with a zero byte.

        :raises Damaged: it is not there, or does not end
        """
        size = max(0, min(self._size - offset, _LONGEST))
        found, end, _ = self.take(offset, size).partition(b"\0")
        if not end:
            raise Damaged
        return found.decode("utf-8", "surrogateescape")
