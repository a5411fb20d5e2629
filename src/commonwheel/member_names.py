"""Names of members: which ones every system can hold, each as a file of its own.

A wheel is unpacked once and then read by whoever links it, so its names are looked at as
the strictest system would: no wheel of the most downloaded ones has others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from commonwheel.errors import InvalidWheel
from commonwheel.limits import exceeded
from commonwheel.wheel_rules import WheelRule as Rule

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNPORTABLE = re.compile(
    r'[:<>"|?*]|[ .]$|^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)',
    re.IGNORECASE | re.ASCII,
)
"""https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file"""
_NO_NAMES = frozenset({"", ".", ".."})
_LONGEST = 255
"""Bytes of a part of a path that common filesystems hold."""


def check(path: Path, name: str) -> None:
    """Check the ``name`` of a member, without a slash at its end, of the wheel ``path``.

    :raises InvalidWheel: it is not a path below a folder that every system can hold
    """
    parts = name.split("/")
    if "\\" in name or not _NO_NAMES.isdisjoint(parts):
        reason = "a path that leaves the archive or is ambiguous"
        raise InvalidWheel(path, Rule.UNSAFE_NAME, reason, name)
    if name[1:2] == ":":
        raise InvalidWheel(path, Rule.UNSAFE_NAME, "an absolute path", name)
    if _CONTROL.search(name):
        reason = "a path with a control character or line break"
        raise InvalidWheel(path, Rule.CONTROL_CHARACTER, reason, name)
    for part in parts:
        if not is_portable(part):
            reason = f"not every system can hold the name {part!r}"
            raise InvalidWheel(path, Rule.PORTABLE_NAME, reason, name)


@lru_cache(maxsize=4096)  # most are folders that many members lie in
def is_portable(name: str) -> bool:
    """Whether every system can hold a file of this ``name``."""
    too_long = len(name) > _LONGEST or len(name.encode("utf-8")) > _LONGEST
    return not too_long and not _UNPORTABLE.search(name)


def is_plain(name: str) -> bool:
    """Whether ``name`` is that of a file, not a path, and has no control character."""
    separated = _CONTROL.search(name) or set(name) & {"/", "\\"}
    return not separated and name not in _NO_NAMES


def fold(name: str) -> str:
    """The same for all names that some filesystem holds to be the same.

    Canonical caseless matching (The Unicode Standard, D145), for characters as old as the
    Unicode version of the oldest Python that is supported.
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def folders(paths: Iterable[str]) -> Iterator[str]:
    """Each folder that files of these ``paths`` lie in, once.

    As soon as one is known, so are those above it: many files that lie deep cost no more
    than they would side by side.
    """
    known: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in known:
            known.add(folder)
            yield folder
            folder = folder.rpartition("/")[0]


def check_apart(
    path: Path, names: Iterable[str], empty: Iterable[str], most: int
) -> None:
    """Check that files of these ``names``, and ``empty`` folders, can lie side by side.

    There may be at ``most`` as many folders, with those that others lie in.

    :raises InvalidWheel: two are the same file, or would be on some filesystem
    """
    files: set[str] = set()
    seen: dict[str, str] = {}
    for name in names:
        if name in files:
            raise InvalidWheel(path, Rule.DUPLICATE, "it is there twice", name)
        files.add(name)
        _see(path, name, seen)
    held = (*seen.values(), *(f"{folder}/" for folder in empty))
    for number, folder in enumerate(folders(held), 1):
        if number > most:
            reason = exceeded("members", f"over {most:,} folders", most, 2 * most)
            raise InvalidWheel(path, Rule.MEMBERS_LIMIT, reason)
        if folder in files:
            reason = "both a file and a folder"
            raise InvalidWheel(path, Rule.FILE_AND_FOLDER, reason, folder)
        _see(path, folder, seen)


def _see(path: Path, name: str, seen: dict[str, str]) -> None:
    """Refuse a name of which another spelling was ``seen``."""
    other = seen.setdefault(fold(name), name)
    if other != name:
        reason = f"it differs from {other!r} in case or Unicode form only"
        raise InvalidWheel(path, Rule.COLLISION, reason, name)
