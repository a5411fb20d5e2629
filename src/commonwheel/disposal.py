"""Disposal: what of a store nobody uses, since when, and taking it out.

An entry that no environment holds is noted as unused first; using it again takes the note
back. What is taken out is renamed away in one step, so that it is there as a whole or not
at all, and removed later, when nobody has to wait for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from commonwheel import files


class Disposal:
    """The unused entries of a store."""

    def __init__(self, entries: Path, unused: Path, trash: Path) -> None:
        """The folders of a store, on one filesystem."""
        self._entries = entries
        self._unused = unused
        self._trash = trash

    def unused(self) -> dict[str, float]:
        """The entries that are noted as unused, and since when.

        The times are the filesystem's, in seconds since the epoch: see :meth:`now`.

        :raises OSError: the store cannot be read
        """
        try:
            with os.scandir(self._unused) as found:
                return {
                    each.name: each.stat(follow_symlinks=False).st_mtime for each in found
                }
        except FileNotFoundError:
            return {}

    def note(self, identifier: str) -> None:
        """Note that nobody uses an entry from now on.

        :raises OSError: the store cannot be written
        """
        files.touch(self._unused / identifier)

    def take_back(self, identifiers: Iterable[str]) -> None:
        """They are used again; as far as the store can be written."""
        for identifier in self.unused().keys() & set(identifiers):
            with suppress(OSError):
                (self._unused / identifier).unlink()

    def now(self) -> float:
        """The time, by the clock of the store's filesystem.

        :raises OSError: the store cannot be written
        """
        with files.staging(self._trash) as probe:
            return probe.stat().st_mtime

    def take_out(self, identifier: str) -> Path:
        """Take an entry out of the store; returns where it is now, to be removed.

        To be called while nobody else uses the store.

        :raises OSError: it cannot be taken out; it is as it was
        """
        buried = self.bury(self._entries / identifier)
        # another's note stays: it says nothing of what is not there
        with suppress(FileNotFoundError, PermissionError):
            files.remove(self._unused / identifier)
        return buried

    def bury(self, path: Path) -> Path:
        """Take anything out of the store; returns where it is now, to be removed.

        :raises OSError: it cannot be taken out; it is as it was
        """
        buried = self._trash / f"{path.name}.{os.urandom(8).hex()}"
        os.rename(path, buried)
        return buried

    def trash(self) -> list[Path]:
        """What was taken out and not removed yet, by whomever."""
        try:
            return sorted(self._trash.iterdir())
        except FileNotFoundError:
            return []
