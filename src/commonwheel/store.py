"""The store: wheel -> entry.

Stores can be chained: entries are looked for in all of them, and added to the first one
that can be written. The others may be read-only (a layer of an image, a network share).
What is where in one of them is known by :mod:`commonwheel.store_folder`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from commonwheel import entry_folder, files, runtime, wheel
from commonwheel.bytecode import Compiler
from commonwheel.contents import Contents
from commonwheel.custody import Custody
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import EntryGone, InvalidWheel
from commonwheel.exclusion import Patience
from commonwheel.limits import Limits
from commonwheel.link_mode import LinkMode
from commonwheel.store_folder import StoreFolder, can_be_written, custody_of
from commonwheel.wheel import Wheel
from commonwheel.wheel_rules import WheelRule


class Store(StoreFolder):
    """A folder of unpacked wheels that environments share, or a chain of them."""

    def __init__(
        self,
        root: Path,
        *below: Path,
        patience: Patience = Patience(),  # noqa: B008  frozen
        limits: Limits = Limits(),  # noqa: B008  frozen
    ) -> None:
        """Open the store at ``root``; it is made when the first entry is added.

        With the stores ``below`` it is a chain: what is added goes into the first one
        that can be written, which is then the ``root`` of the whole. ``patience`` is for
        whoever is in the way: who adds the same, or collects. Wheels beyond the
        ``limits`` are refused.

        :raises InvalidStore: there is something else, or a store of another layout
        """
        roots = [Path(os.path.abspath(each)) for each in (root, *below)]
        first, found = _first_to_write(roots)
        super().__init__(first, patience, found)
        others = dict.fromkeys(each for each in roots if each != first)
        self.limits = limits
        self.below = tuple(
            Store(each, patience=patience, limits=limits) for each in others
        )
        """The other stores of the chain; nothing is added to them."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this lasts, no entry of the chain is collected.

        To be held from choosing entries until an environment that holds them is
        registered; not while something is fetched, which can take long.

        :raises StoreBusy: somebody collects in one of them, and takes too long
        :raises InvalidStore: it cannot be locked
        """
        if self._occupancy.is_inside:
            yield
            return
        with ExitStack() as held:
            if self.can_be_written:
                with self._writing():
                    self._prepare()  # there is nothing to lock before
            # in one order for all chains: else two could wait for each other
            for each in sorted((self, *self.below), key=lambda each: each.root):
                if not each.has_locks:
                    continue
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
        digest = self._memory.digest(path, remember)
        prefix = "-".join(path.name.split("-")[:2])
        with self.in_use():
            found = self._find_anywhere(prefix, digest)
            if found is None:
                found = self._add(path, prefix, digest, before, compiler)
            if compiler is not None:
                self.ensure_bytecode(found, compiler)
        if url is not None:
            self._memory.urls.note(digest, url)
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
        archive = wheel.read(path, self.limits)
        with self._writing():
            self._prepare()
            with self._occupancy.using(), self._lock(digest):
                found = self._shelf.find(prefix, digest)  # published while we waited?
                if found is not None:
                    return found
                identifier = self._shelf.free_identifier(archive.prefix, digest)
                with self._staging(digest) as staged:
                    made = staged / "entry"
                    self._make(archive, made, identifier, digest, compiler, before)
                    try:
                        return self._publish(made, identifier)
                    except FileExistsError:
                        # by somebody whom the lock does not keep out: what that one has
                        # made is as good, if it is of the same wheel
                        found = self._shelf.find(prefix, digest)
                        if found is None:
                            raise
                        return found

    def _make(
        self,
        archive: Wheel,
        made: Path,
        identifier: str,
        digest: str,
        compiler: Compiler | None,
        before: object,
    ) -> None:
        """Make an entry's folder of a wheel file, which was so before it was hashed."""
        entry_folder.make(archive, made, identifier, digest, compiler, self.custody)
        if _state(archive.path) != before:
            # an entry must not be of other bytes than its sha256 says
            reason = "it changed while it was unpacked"
            raise InvalidWheel(archive.path, WheelRule.CHANGED, reason)

    def put_right(self, path: Path, identifier: str, compiler: Compiler | None) -> Entry:
        """Make the entry ``identifier`` anew from its wheel file ``path``.

        What was there, whatever became of it, is swapped with the new one in one step, so
        that environments which use it never miss it.

        :raises InvalidWheel: the file is not a wheel
        :raises InvalidStore: the store cannot be written
        :raises StoreBusy: somebody else was at it all the time
        :raises OSError: the wheel file cannot be read
        """
        before = _state(path)
        digest = self._memory.digest(path, remember=False)
        archive = wheel.read(path, self.limits)
        with self._writing():
            self._prepare()
            with self.in_use(), self._lock(digest), self._staging(digest) as staged:
                made = staged / "entry"
                self._make(archive, made, identifier, digest, compiler, before)
                return self._replace(made, identifier)

    def adopt(self, entry: Entry, without: Collection[str] = ()) -> Entry:
        """A copy, in this store, of an entry of another one, which was verified.

        One that is here under the same name is replaced, in one step; it may be
        ``entry`` itself, to be rid of the paths ``without`` (relative to its folder) and
        to be sealed again.

        :raises InvalidStore: the store cannot be written
        :raises StoreBusy: somebody else was at it all the time
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
                entry_folder.seal(made, self.custody)
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
        kept = f"runtime/{digest[:16]}.{compiler.cache_tag}.pyc"
        for each in (self, *self.below):
            try:
                return files.read(each.root / each.own_name(kept), each.custody.believes)
            except OSError:
                continue
        if self.root.exists() and not self.can_be_written:
            return b""
        with self._writing():
            self._prepare()
            # a collection removes what it finds under a name that is not its last one
            with self._occupancy.using(), self._lock(digest):
                with self._staging(digest) as staged:
                    compiler.compile(source.parent, [source.name], staged)
                    name = runtime.bytecode_name(compiler.cache_tag)
                    compiled = staged.joinpath(name).read_bytes()
                path = self.root / self.own_name(kept)
                with suppress(PermissionError):  # somebody else has taken its name
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
            identifier = each._memory.origins.get(_key(origin))  # noqa: SLF001
            found = each.get(identifier) if identifier is not None else None
            if found is not None:
                return found
        return None

    def remember_origin(self, origin: str, entry: Entry) -> None:
        """Remember that the wheel of ``entry`` came from ``origin``, if that is possible.

        ``origin`` is whatever text says for ever which wheel is meant, and is not the
        wheel's sha256: another hash of it, a commit it was built from.
        """
        self._memory.origins.note(_key(origin), entry.description.id)

    def url_of(self, sha256: str) -> str | None:
        """Where a wheel came from, if that was noted; as it was then."""
        return self._memory.urls.get(sha256)

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
            if ours and store.takes_entries:
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
        :raises StoreBusy: somebody else was at it all the time
        :raises EntryGone: the entry was collected meanwhile
        """
        tag = compiler.cache_tag
        if entry_folder.has_bytecode(entry, tag):
            return
        if not entry_folder.takes_bytecode(entry):
            return
        owner = next(
            (each for each in self.below if entry.root.parent.parent == each.root), self
        )
        if owner.can_be_written:
            owner._add_bytecode(entry, compiler)  # noqa: SLF001

    def _add_bytecode(self, entry: Entry, compiler: Compiler) -> None:
        digest = entry.description.sha256
        with self._writing():
            self._prepare()
            with self._occupancy.using(), self._lock(digest):
                if not entry.root.is_dir():  # collected since it was chosen
                    raise EntryGone(entry.root)
                if not entry_folder.has_bytecode(entry, compiler.cache_tag):
                    with self._staging(digest) as staged:
                        entry_folder.add_bytecode(entry, compiler, staged)
                    self._memory.note_size(entry.root)

    def _find_anywhere(self, prefix: str, digest: str) -> Entry | None:
        for each in (self, *self.below):
            found = each._shelf.find(prefix, digest)  # noqa: SLF001  a store of this class
            if found is not None:
                return found
        return None


def _first_to_write(roots: Sequence[Path]) -> tuple[Path, Custody]:
    """The first store that can be written, or else the first one; whose it is.

    :raises InvalidStore: somebody can write to one of them who should not
    """
    found = {}
    for root in roots:
        found[root] = custody_of(root)
        if can_be_written(root, found[root]):
            return root, found[root]
    return roots[0], found[roots[0]]


def _key(origin: str) -> str:
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()


def _state(path: Path) -> object:
    """Differs when a file has been replaced or written to.

    Whoever writes to it can set its mtime back; the ctime is the system's.
    """
    status = path.stat()
    files.check_kind(path, status)
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )
