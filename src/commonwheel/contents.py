"""Contents: the entries that there were at one time, to be found by what they are of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry


class Contents:
    """Entries by the names of their folders; they are read when they are asked for."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """``folders``: those of the entries; of equals the first one is preferred."""
        self._by_name: dict[str, list[tuple[str, Path]]] = {}
        for folder in folders:
            name, _, digest, *_ = (*folder.name.split("-"), "", "")
            found = self._by_name.setdefault(canonicalize_name(name), [])
            found.append((digest, folder))

    def of_name(self, name: str) -> Iterator[Entry]:
        """The entries of a distribution's (normalized name) wheels, whatever version.

        :raises InvalidStore: one of them cannot be read
        """
        for _, folder in self._by_name.get(name, ()):
            entry = read_entry(folder)
            if entry is not None:
                yield entry

    def of_digests(self, name: str, digests: Collection[str]) -> Iterator[Entry]:
        """The entries of a distribution's wheels that have one of the sha256 ``digests``.

        :raises InvalidStore: one of them cannot be read
        """
        beginnings = {digest[:8] for digest in digests}
        for beginning, folder in self._by_name.get(name, ()):
            if beginning in beginnings:
                entry = read_entry(folder)
                if entry is not None and entry.description.sha256 in digests:
                    yield entry
