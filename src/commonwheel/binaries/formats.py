"""Which format a binary has: its first bytes say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commonwheel.binaries import elf, mach_o, pe
from commonwheel.binaries.binary import Binary
from commonwheel.binaries.data import Damaged, Data

_READERS: dict[bytes, Callable[[Data], Binary]] = {
    elf.MAGIC: elf.read,
    pe.MAGIC: pe.read,
    **dict.fromkeys(mach_o.MAGIC, mach_o.read),
    **dict.fromkeys(mach_o.FAT_MAGIC, mach_o.read_fat),
}


def read(path: Path) -> Binary | None:
    """What the binary ``path`` asks for, or None if it is none, or a damaged one.

    Whatever the file's size, little of it is read.

    :raises OSError: the file cannot be read
    """
    with open(path, "rb") as file:
        data = Data(file)
        try:
            magic = data.take(0, 4)
            reader = _READERS.get(magic) or _READERS.get(magic[:2])
            return reader(data) if reader else None
        except Damaged:
            return None
