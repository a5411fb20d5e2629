"""Failing on purpose: the n-th change of the filesystem below a folder goes wrong.

The interpreter itself reports what it is about to do (:pep:`578`), whichever function of
whichever library asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHANGES = frozenset(
    {
        *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"),
        *("os.symlink", "os.truncate", "open"),
    }
)


class _Fault:
    def __init__(self, root: Path, number: int, error: BaseException) -> None:
        self.root = str(root)
        self.left = number
        self.error = error

    @property
    def happened(self) -> bool:
        return self.left < 0


_active: list[_Fault] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _active or event not in _CHANGES:
        return
    if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
        return
    fault = _active[0]
    if any(isinstance(a, (str, Path)) and str(a).startswith(fault.root) for a in args):
        fault.left -= 1
        if fault.left == -1:
            raise fault.error


_WRITING = os.O_WRONLY | os.O_RDWR
sys.addaudithook(_hook)  # for the life of the process


@contextmanager
def fault(root: Path, number: int, error: BaseException) -> Iterator[_Fault]:
    """While this lasts, change ``number`` (from 0) below ``root`` raises ``error``."""
    planned = _Fault(root, number, error)
    _active.append(planned)
    try:
        yield planned
    finally:
        _active.clear()
