"""Names of members: which ones every system can hold, each as a file of its own.

A wheel is unpacked once and then read by whoever links it, so its names are looked at as
the strictest system would: no wheel of the most downloaded ones has others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
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
_LONGEST = 255
"""Bytes of a part of a path that common filesystems hold."""


def check(path: Path, name: str) -> None:
    """Check the ``name`` of a member, without a slash at its end, of the wheel ``path``.

    :raises InvalidWheel: it is not a path below a folder that every system can hold
    """
    parts = name.split("/")
    if "\\" in name or any(part in ("", ".", "..") for part in parts):
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


def is_portable(name: str) -> bool:
    """Whether every system can hold a file of this ``name``."""
    too_long = len(name) > _LONGEST or len(name.encode("utf-8")) > _LONGEST
    return not too_long and not _UNPORTABLE.search(name)


def is_plain(name: str) -> bool:
    """Whether ``name`` is that of a file, not a path, and has no control character."""
    return not (_CONTROL.search(name) or set(name) & {"/", "\\"}) and name not in (
        *("", ".", ".."),
    )


def fold(name: str) -> str:
    """The same for all names that some filesystem holds to be the same.

    Canonical caseless matching (The Unicode Standard, D145), for characters as old as the
    Unicode version of the oldest Python that is supported.
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def check_apart(
    path: Path, names: Iterable[str], folders: Iterable[str], most: int
) -> None:
    """Check that files of these ``names``, and ``folders``, can lie side by side.

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
    known: set[str] = set()
    for name in (*files, *(f"{folder}/" for folder in folders)):
        folder = name.rpartition("/")[0]
        while folder and folder not in known:
            known.add(folder)
            if len(known) > most:
                reason = exceeded("members", f"over {most:,} folders", most, 2 * most)
                raise InvalidWheel(path, Rule.MEMBERS_LIMIT, reason)
            if folder in files:
                reason = "both a file and a folder"
                raise InvalidWheel(path, Rule.FILE_AND_FOLDER, reason, folder)
            _see(path, folder, seen)
            folder = folder.rpartition("/")[0]


def _see(path: Path, name: str, seen: dict[str, str]) -> None:
    """Refuse a name of which another spelling was ``seen``."""
    other = seen.setdefault(fold(name), name)
    if other != name:
        reason = f"it differs from {other!r} in case or Unicode form only"
        raise InvalidWheel(path, Rule.COLLISION, reason, name)
