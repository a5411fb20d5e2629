"""Digests of files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import BinaryIO

_BLOCK = 1 << 20
"""In bytes: a wheel may be larger than the memory."""


def of(file: BinaryIO, algorithms: Collection[str]) -> dict[str, str]:
    """The digests of what is left to read of ``file``, in hexadecimal, by algorithm.

    :raises ValueError: :mod:`hashlib` does not know one of the algorithms
    """
    hashes = {name: hashlib.new(name) for name in algorithms}
    while block := file.read(_BLOCK):
        for each in hashes.values():
            each.update(block)
    return {name: each.hexdigest() for name, each in hashes.items()}
