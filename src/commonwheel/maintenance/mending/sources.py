"""Sources: where the entry of a wheel may be had, whose full sha256 is known.

That is its own folder, as far as it is sound; other stores of the chain; wheel files; and
what a host fetches, by the URL that was noted, or by name and version.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from commonwheel import digests, entry_folder, files, integrity, location
from commonwheel.damage import Fault
from commonwheel.entry import Entry
from commonwheel.errors import InvalidStore
from commonwheel.maintenance.mending.plan import Broken
from commonwheel.maintenance.mending.users import Users
from commonwheel.pin import Kind, Pin
from commonwheel.store import Store
from commonwheel.sync import Host


@dataclass(frozen=True)
class Sources:
    """Where wheels may be had."""

    host: Host | None = None
    """Fetches from the network; None: it must not be used."""
    folders: tuple[Path, ...] = ()
    """Folders with wheel files."""


class Replacements:
    """Entries that can take the place of one that is broken."""

    def __init__(self, store: Store, folders: tuple[Path, ...], users: Users) -> None:
        self._store = store
        self._folders = folders
        self._users = users

    def of_itself(self, broken: Broken) -> Iterator[Entry]:
        """Of the files that are right, if all that comes from the wheel is."""
        home = self._home(broken)
        if home is None or integrity.describe(broken.root) is None:
            return
        entry = entry_folder.read_entry(broken.root)
        if entry is None or entry.description.sha256 != broken.sha256:
            return
        tags: set[str] = set()
        without: set[str] = set()
        for each in broken.damages:
            if each.fault is Fault.ADDED:
                without.add(each.path)
            elif each.fault is not Fault.MODE:
                if not each.path.startswith("bytecode/") and each.path[-4:] != ".pyc":
                    return
                tags.add(integrity.tag_of(each.path))
        begun = entry_folder.begun_bytecode(entry).values()
        listed = itertools.chain(entry_folder.bytecode_digests(entry), *begun)
        paths = [f"tree/{path}" for path, _ in listed]
        gone = {path for path in paths if integrity.tag_of(path) in tags}
        kept = {os.path.dirname(path) for path in paths if path not in gone}
        without |= gone | ({os.path.dirname(path) for path in gone} - kept)
        without |= {f"bytecode/{begin}{tag}" for tag in tags for begin in ("", ".")}
        yield home.adopt(entry, without)

    def of_other_stores(self, broken: Broken) -> Iterator[Entry]:
        """Of sound entries of the same wheel."""
        home = self._home(broken)
        for root in self._elsewhere(broken):
            entry = None if integrity.inspect(root) else entry_folder.read_entry(root)
            if entry is not None and home is None:
                yield entry  # it is linked to where it is
            elif entry is not None and home is not None and root.name == broken.root.name:
                yield home.adopt(entry)

    def _elsewhere(self, broken: Broken) -> Iterator[Path]:
        """Where other stores have entries of the same wheel."""
        for each in (self._store, *self._store.below):
            for identifier in each.identifiers():
                root = each.folder_of(identifier)
                if (
                    root != broken.root
                    and broken.sha256
                    and (f"-{broken.sha256[:8]}" in identifier)
                ):
                    described = integrity.describe(root)
                    if described is not None and described.sha256 == broken.sha256:
                        yield root

    def of_files(self, broken: Broken) -> Iterator[Entry]:
        """Of wheel files that are at hand."""
        for path in self._wheel_files(broken):
            yield from self.of_file(broken, path)

    def of_file(self, broken: Broken, path: Path) -> Iterator[Entry]:
        """Of a file that may be its wheel."""
        if broken.sha256 is not None and _sha256(path) == broken.sha256:
            home, compiler = self._home(broken), self._users.compiler(broken)
            if home is not None:
                yield home.put_right(path, broken.root.name, compiler)
            else:
                # not the whole chain, which would find the damaged one
                alone = Store(self._store.root, patience=self._store.patience)
                yield alone.add(path, compiler)

    def _wheel_files(self, broken: Broken) -> Iterator[Path]:
        """Files that may be the wheel, by their names."""
        for folder in self._folders:
            for path in sorted(folder.glob("*.whl")):
                if _may_be(path.name, broken):
                    yield path
        for url in broken.origins:
            parts = urlsplit(url)
            path = Path(url2pathname(parts.path))
            if parts.scheme == "file" and path.is_file():
                yield path

    def pins(self, broken: Broken, sha256: str) -> Iterator[Pin]:
        """What a host may be asked for, the likeliest first."""
        hashes = frozenset({("sha256", sha256)})
        home = self._home(broken)
        noted = home.url_of(sha256) if home is not None else None
        for url in dict.fromkeys((noted, self._store.url_of(sha256), *broken.origins)):
            if url is not None and location.is_url(url) and not url.startswith("file:"):
                filename = unquote(urlsplit(url).path.rpartition("/")[2])
                yield Pin(
                    *(broken.name, broken.version, Kind.WHEEL, filename, url, hashes)
                )
        yield Pin(broken.name, broken.version, Kind.INDEX, hashes=hashes)

    def _home(self, broken: Broken) -> Store | None:
        """The store of the entry, if it can be written."""
        folder = broken.root.parent.parent
        if folder == self._store.root:
            return self._store
        try:
            store = Store(folder, limits=self._store.limits)
        except InvalidStore:
            return None
        return store if store.takes_entries else None


def _may_be(filename: str, broken: Broken) -> bool:
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    prefix = "-".join(filename.split("-")[:2])
    same = prefix == "-".join(broken.root.name.split("-")[:2])
    return same or (name == broken.name and str(version) == broken.version)


def _sha256(path: Path) -> str:
    with files.open_to_read(path) as file:
        return digests.of(file, ("sha256",))["sha256"]
