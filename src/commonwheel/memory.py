"""Memory: what a store has noted, so that it need not be found out again.

All of it can be lost, and what is there may be old: a note is believed only as far as
being wrong does no harm.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from commonwheel import digests, entry_folder
from commonwheel.notes import Notes

NAMES = ("wheels", "origins", "urls", "sizes")
"""The files that it is in."""
_SETTLED = 2.0
"""Seconds after which a file's timestamps tell a later change of it apart; the largest
timestamp step of a filesystem in use (FAT) is two."""


class Memory:
    """The notes of one store."""

    def __init__(
        self,
        paths: dict[str, Path],
        prepare: Callable[[], object],
        believes: Callable[[os.stat_result], bool],
    ) -> None:
        """``paths``: of the :data:`NAMES`; for the others see :class:`Notes`."""
        notes = {name: Notes(path, prepare, believes) for name, path in paths.items()}
        self._wheels, self._sizes = notes["wheels"], notes["sizes"]
        self.origins = notes["origins"]
        """What else than its sha256 says which wheel an entry is of, and the entry."""
        self.urls = notes["urls"]
        """Where wheels came from, by their sha256."""

    def digest(self, path: Path, remember: bool) -> str:
        """The sha256 of a wheel file, from memory if its time stamps are known.

        :raises OSError: the file cannot be read
        """
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            stamp = (
                f"{status.st_dev}:{status.st_ino}:{status.st_size}"
                f":{status.st_mtime_ns}:{status.st_ctime_ns}"
            )
            noted = self._wheels.get(stamp, "") if remember else ""
            if len(noted) == 64:  # a line may have been cut off
                return noted
            digest = digests.of(file, ("sha256",))["sha256"]
        # A file that changed a moment ago can change again with the same time stamps.
        if remember and time.time() - status.st_ctime > _SETTLED:
            self._wheels.note(stamp, digest)
        return digest

    def sizes(
        self, entries: Iterable[Path], *, noting: bool
    ) -> dict[str, tuple[int, int]]:
        """How many bytes the files of entries have, and how many inodes each takes.

        What was not noted is counted, and noted if that is wanted (``noting``).
        """
        found: dict[str, tuple[int, int]] = {}
        for root in entries:
            size, _, inodes = self._sizes.get(root.name, "").partition("/")
            if size.isdecimal() and inodes.isdecimal():
                found[root.name] = int(size), int(inodes)
            elif noting:
                found[root.name] = self.note_size(root)
            else:
                found[root.name] = entry_folder.measure(root)
        return found

    def note_size(self, root: Path) -> tuple[int, int]:
        """Count what the entry whose folder is ``root`` takes, and note it."""
        size, inodes = entry_folder.measure(root)
        self._sizes.note(root.name, f"{size}/{inodes}")
        return size, inodes

    def keep(self, identifiers: Collection[str]) -> None:
        """Drop what is of other entries than these."""
        self.origins.keep(lambda _, identifier: identifier in identifiers)
        self._sizes.keep(lambda identifier, _: identifier in identifiers)
        digits = {_digits(identifier) for identifier in identifiers}
        self._wheels.keep(lambda _, digest: digest[:8] in digits)
        self.urls.keep(lambda digest, _: digest[:8] in digits)


def _digits(identifier: str) -> str:
    """The first digits of the hash, of an entry's name."""
    _, _, digits, *_ = (*identifier.split("-"), "", "", "")
    return digits
