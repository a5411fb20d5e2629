"""The shelf: the folder of a store's entries, their names, and putting one there.

An entry is named ``NAME-VERSION-HASH8``, after eight digits of its wheel's sha256;
another wheel with the same digits is ``...-2``. Which one is meant says the whole hash.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from commonwheel import files
from commonwheel.disposal import Disposal
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.errors import InvalidStore, explain


class Shelf:
    """The entries of one store."""

    def __init__(self, entries: Path, is_shared: bool) -> None:
        """``entries``: the folder. In a shared one anybody can take a name."""
        self._entries = entries
        self._is_shared = is_shared

    def folder_of(self, identifier: str) -> Path:
        """Where the entry named ``identifier`` is, or would be."""
        return self._entries / identifier

    def get(self, identifier: str) -> Entry | None:
        """The entry named ``identifier``, or None if there is none.

        :raises InvalidStore: it is there but cannot be read
        """
        return read_entry(self._entries / identifier)

    def identifiers(self) -> list[str]:
        """The names of the entries that there are now.

        :raises InvalidStore: the store cannot be read
        """
        try:
            return sorted(os.listdir(self._entries))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InvalidStore(self._entries.parent, explain(error)) from error

    def find(self, prefix: str, digest: str) -> Entry | None:
        """The entry whose wheel has the sha256 ``digest``, compared in full.

        ``prefix`` is NAME-VERSION as the wheel file has them.

        :raises InvalidStore: one that may be it cannot be read
        """
        first = next(_identifiers(prefix, digest))
        # others of the same eight digits may have been collected since
        others = self._entries.glob(f"*-{digest[:8]}-*")
        for identifier in itertools.chain((first,), (path.name for path in others)):
            if identifier.startswith(first):
                found = self._get_or_pass(identifier)
                if found is not None and found.description.sha256 == digest:
                    return found
        return None

    def _get_or_pass(self, identifier: str) -> Entry | None:
        try:
            return self.get(identifier)
        except InvalidStore:
            if not self._is_shared:
                raise
            return None  # no more than a name

    def free_identifier(self, prefix: str, digest: str) -> str:
        """A name that no entry has, for a wheel with the sha256 ``digest``."""
        return next(
            identifier
            for identifier in _identifiers(prefix, digest)
            if not os.path.lexists(self.folder_of(identifier))
        )

    def publish(self, made: Path, identifier: str) -> Path:
        """Make an entry that is complete visible, by a rename; returns where it is.

        Its data is on the disk before its name is.

        :raises FileExistsError: somebody published one of that name first
        :raises OSError: it cannot be written
        """
        published = self.folder_of(identifier)
        files.sync_filesystem(made)
        files.publish(made, published)
        files.sync_folder(published.parent)
        return published

    def replace(self, made: Path, identifier: str, disposal: Disposal) -> Path:
        """As :meth:`publish`, in the place of what may be there, in one step.

        :raises OSError: it cannot be written
        """
        published = self.folder_of(identifier)
        if not os.path.lexists(published):
            return self.publish(made, identifier)
        files.sync_filesystem(made)
        if not files.exchange(made, published):
            disposal.take_out(identifier)
            files.publish(made, published)
        files.sync_folder(published.parent)
        return published


def _identifiers(prefix: str, digest: str) -> Iterator[str]:
    """The names an entry may have, in order."""
    yield f"{prefix}-{digest[:8]}"
    for number in itertools.count(2):
        yield f"{prefix}-{digest[:8]}-{number}"
