"""The store: wheel -> entry.

Stores can be chained: entries are looked for in all of them, and added to the first one
that can be written. The others may be read-only (a layer of an image, a network share).
What is where in one of them is known by :mod:`commonwheel.store_folder`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from commonwheel import entry_folder, files, runtime, wheel
from commonwheel.bytecode import Compiler
from commonwheel.contents import Contents
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import EntryGone, InvalidWheel
from commonwheel.link_mode import LinkMode
from commonwheel.store_folder import StoreFolder, can_be_written
from commonwheel.wheel import Wheel


class Store(StoreFolder):
    """A folder of unpacked wheels that environments share, or a chain of them."""

    def __init__(self, root: Path, *below: Path) -> None:
        """Open the store at ``root``; it is made when the first entry is added.

        With the stores ``below`` it is a chain: what is added goes into the first one
        that can be written, which is then the ``root`` of the whole.

        :raises InvalidStore: there is something else, or a store of another layout
        """
        roots = [Path(os.path.abspath(each)) for each in (root, *below)]
        first = next((each for each in roots if can_be_written(each)), roots[0])
        super().__init__(first)
        others = dict.fromkeys(each for each in roots if each != first)
        self.below = tuple(Store(each) for each in others)
        """The other stores of the chain; nothing is added to them."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this lasts, no entry of the chain is collected.

        To be held from choosing entries until an environment that holds them is
        registered; not while something is fetched, which can take long.

        :raises InvalidStore: it cannot be locked
        """
        if self._occupancy.is_inside:
            yield
            return
        with ExitStack() as held:
            if can_be_written(self.root):
                with self._writing():
                    self._prepare()  # there is nothing to lock before
            for each in (self, *self.below):
                with each._writing():  # noqa: SLF001  another store of this class
                    held.enter_context(each._occupancy.using())  # noqa: SLF001
            yield

    def add(
        self,
        path: Path,
        compiler: Compiler | None,
        *,
        remember: bool = False,
        url: str | None = None,
    ) -> Entry:
        """The entry of the wheel file ``path``; it is unpacked if it is not there yet.

        It holds bytecode for the interpreter of ``compiler``, if there is one.
        ``remember`` records the file's identity and time stamps with its hash, so that
        the next call need not read the file again; for files that stay where they are.
        ``url`` is where it came from, for :meth:`url_of`.

        :raises InvalidWheel: the file is not a wheel
        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        :raises OSError: the wheel file cannot be read
        """
        before = _state(path)
        digest = self._digest(path, remember)
        prefix = "-".join(path.name.split("-")[:2])
        with self.in_use():
            found = self._find_anywhere(prefix, digest)
            if found is None:
                found = self._add(path, prefix, digest, before, compiler)
            if compiler is not None:
                self.ensure_bytecode(found, compiler)
        if url is not None:
            self._notes["urls"].note(digest, url)
        return found

    def _add(
        self,
        path: Path,
        prefix: str,
        digest: str,
        before: object,
        compiler: Compiler | None,
    ) -> Entry:
        """Unpack a wheel, unless another process does so first."""
        archive = wheel.read(path)
        with self._writing():
            self._prepare()
            with self._occupancy.using(), self._lock(digest):
                found = self._find(prefix, digest)  # published while we waited?
                if found is not None:
                    return found
                identifier = self._free_identifier(archive.prefix, digest)
                with self._staging(digest) as staged:
                    made = staged / "entry"
                    _make(archive, made, identifier, digest, compiler, before)
                    return self._publish(made, identifier)

    def put_right(self, path: Path, identifier: str, compiler: Compiler | None) -> Entry:
        """Make the entry ``identifier`` anew from its wheel file ``path``.

        What was there, whatever became of it, is swapped with the new one in one step, so
        that environments which use it never miss it.

        :raises InvalidWheel: the file is not a wheel
        :raises InvalidStore: the store cannot be written
        :raises OSError: the wheel file cannot be read
        """
        before = _state(path)
        digest = self._digest(path, remember=False)
        archive = wheel.read(path)
        with self._writing():
            self._prepare()
            with self.in_use(), self._lock(digest), self._staging(digest) as staged:
                made = staged / "entry"
                _make(archive, made, identifier, digest, compiler, before)
                return self._replace(made, identifier)

    def adopt(self, entry: Entry, without: Collection[str] = ()) -> Entry:
        """A copy, in this store, of an entry of another one, which was verified.

        One that is here under the same name is replaced, in one step; it may be
        ``entry`` itself, to be rid of the paths ``without`` (relative to its folder) and
        to be sealed again.

        :raises InvalidStore: the store cannot be written
        """
        digest = entry.description.sha256
        with self._writing():
            self._prepare()
            with self.in_use(), self._lock(digest), self._staging(digest) as staged:
                made = staged / "entry"
                unwanted = {os.path.join(entry.root, path) for path in without}
                shutil.copytree(
                    entry.root,
                    made,
                    symlinks=True,
                    ignore=lambda folder, names: {
                        name for name in names if os.path.join(folder, name) in unwanted
                    },
                )
                entry_folder.seal(made)
                return self._replace(made, entry.description.id)

    @contextmanager
    def undisturbed(self, sha256: str) -> Iterator[None]:
        """While this lasts, nobody adds bytecode to the entry of a wheel, or makes it.

        If the store cannot be written nobody does anyway.
        """
        if not self.takes_entries:
            yield
            return
        with self.in_use(), self._lock(sha256):
            yield

    def bytecode_of_runtime(self, compiler: Compiler) -> bytes:
        """Bytecode of the runtime for the interpreter of ``compiler``, compiled once.

        Empty if it is not there and the store cannot be written.

        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        """
        source = runtime.SOURCE
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        kept = Path("runtime", f"{digest[:16]}.{compiler.cache_tag}.pyc")
        for each in (self, *self.below):
            try:
                return (each.root / kept).read_bytes()
            except OSError:
                continue
        if self.root.exists() and not os.access(self.root, os.W_OK):
            return b""
        with self._writing():
            self._prepare()
            with self._lock(digest), self._staging(digest) as staged:
                compiler.compile(source.parent, [source.name], staged)
                name = runtime.bytecode_name(compiler.cache_tag)
                compiled = staged.joinpath(name).read_bytes()
            path = self.root / kept
            files.write_atomically(path, compiled, files.READ_ONLY_FILE)
        return compiled

    def contents(self) -> Contents:
        """The entries that there are now, to be found by what they are of.

        :raises InvalidStore: the store cannot be read
        """
        return Contents(
            each.folder_of(identifier)
            for each in (self, *self.below)
            for identifier in each.identifiers()
        )

    def of_origin(self, origin: str) -> Entry | None:
        """The entry of the wheel that came from ``origin``, if that is remembered.

        :raises InvalidStore: it is there but cannot be read
        """
        for each in (self, *self.below):
            identifier = each._notes["origins"].get(_key(origin))  # noqa: SLF001
            found = each.get(identifier) if identifier is not None else None
            if found is not None:
                return found
        return None

    def remember_origin(self, origin: str, entry: Entry) -> None:
        """Remember that the wheel of ``entry`` came from ``origin``, if that is possible.

        ``origin`` is whatever text says for ever which wheel is meant, and is not the
        wheel's sha256: another hash of it, a commit it was built from.
        """
        self._notes["origins"].note(_key(origin), entry.description.id)

    def url_of(self, sha256: str) -> str | None:
        """Where a wheel came from, if that was noted; as it was then."""
        return self._notes["urls"].get(sha256)

    def remember_environment(
        self, environment: Environment, held: Mapping[Path, LinkMode]
    ) -> None:
        """Register that ``environment`` holds entries of this chain, by their folders.

        They count as used again. To be called while the store is :meth:`in_use`.

        :raises EntryGone: one of them is not there any more
        :raises InvalidStore: the registry cannot be written
        """
        for each in held:
            if not os.path.isdir(each):
                raise EntryGone(each)
        for store in (self, *self.below):
            folder = store.root / "entries"
            ours = [(root.name, m) for root, m in held.items() if root.parent == folder]
            if ours and os.access(store.root, os.W_OK):
                with store._writing():  # noqa: SLF001
                    store._prepare()  # noqa: SLF001
                    store.registry.remember(environment, ours)
                    store.disposal.take_back(name for name, _ in ours)

    def ensure_bytecode(self, entry: Entry, compiler: Compiler) -> None:
        """Add bytecode for another interpreter to an entry, unless it has it.

        In a store that cannot be written nothing is added: imports then compile in
        memory, as they do from any read-only folder.

        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        """
        tag = compiler.cache_tag
        if entry_folder.has_bytecode(entry, tag):
            return
        if not entry_folder.takes_bytecode(entry):
            return
        owner = next(
            (each for each in self.below if entry.root.parent.parent == each.root), self
        )
        owner._add_bytecode(entry, compiler)  # noqa: SLF001

    def _add_bytecode(self, entry: Entry, compiler: Compiler) -> None:
        digest = entry.description.sha256
        with self._writing():
            self._prepare()
            with self._occupancy.using(), self._lock(digest):
                if not entry_folder.has_bytecode(entry, compiler.cache_tag):
                    with self._staging(digest) as staged:
                        entry_folder.add_bytecode(entry, compiler, staged)
                    self._note_size(entry.root)

    def _find_anywhere(self, prefix: str, digest: str) -> Entry | None:
        for each in (self, *self.below):
            found = each._find(prefix, digest)  # noqa: SLF001  a store of this class
            if found is not None:
                return found
        return None


def _make(
    archive: Wheel,
    made: Path,
    identifier: str,
    digest: str,
    compiler: Compiler | None,
    before: object,
) -> None:
    """Make an entry's folder of a wheel file, which was so before its hash was taken."""
    entry_folder.make(archive, made, identifier, digest, compiler)
    if _state(archive.path) != before:
        # an entry must not be of other bytes than its sha256 says
        raise InvalidWheel(archive.path, "it changed while it was unpacked")


def _key(origin: str) -> str:
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()


def _state(path: Path) -> object:
    """Differs when a file has been replaced or written to."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
