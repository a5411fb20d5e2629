"""The store: wheel -> entry. The only module that knows a store's layout.

::

    STORE/
      format                       the version of this layout, "1"
      entries/NAME-VERSION-HASH8/  one unpacked wheel, complete as soon as it is there
                                   (see :mod:`commonwheel.entry_folder`)
      environments/                who uses it, see :mod:`commonwheel.registry`
      runs/KEY/                    an environment made for programs to run in, as a lock
                                   says; its file "used" was touched when it was used last
      unused/ENTRY                 no environment held it when somebody looked; since when
      trash/                       entries that were taken out, being removed
      tmp/                         entries being made
      locks/                       at most 256 lock files, by the hash's first digits, and
                                   as many for runs/; and those of
                                   :mod:`commonwheel.occupancy`
      runtime/HASH.TAG.pyc         bytecode of the file that environments are given
      wheels                       "DEVICE:INODE:SIZE:MTIME:CTIME SHA256" of wheels seen
      origins                      "SHA256 ENTRY": what else than its sha256 says which
                                   wheel an entry is of, such as a commit, hashed
      urls                         "SHA256 URL": where a wheel came from
      sizes                        "ENTRY BYTES/INODES" of what each entry takes

Stores can be chained: entries are looked for in all of them, and added to the first one
that can be written. The others may be read-only (a layer of an image, a network share).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock
from filelock import FileLock

from commonwheel import digests, entry_folder, files, runtime, wheel
from commonwheel.bytecode import Compiler
from commonwheel.contents import Contents
from commonwheel.disposal import Disposal
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment
from commonwheel.errors import EntryGone, InvalidStore, InvalidWheel, explain
from commonwheel.link_mode import LinkMode
from commonwheel.notes import Notes
from commonwheel.occupancy import Occupancy
from commonwheel.registry import Registry
from commonwheel.wheel import Wheel

LAYOUT = "1"
_SETTLED = 2.0
"""Seconds after which a file's timestamps tell a later change of it apart; the largest
timestamp step of a filesystem in use (FAT) is two."""

_FOLDERS = (
    *("entries", "environments", "runs", "unused", "trash", "tmp", "locks", "runtime"),
)
_NOTES = ("wheels", "origins", "urls", "sizes")
_OF_A_TEAM = stat.S_ISGID | stat.S_IWGRP
_TEAM_FILE = 0o664


class Store:
    """A folder of unpacked wheels that environments share."""

    def __init__(self, root: Path, *below: Path) -> None:
        """Open the store at ``root``; it is made when the first entry is added.

        With the stores ``below`` it is a chain: what is added goes into the first one
        that can be written, which is then the ``root`` of the whole.

        :raises InvalidStore: there is something else, or a store of another layout
        """
        roots = [Path(os.path.abspath(each)) for each in (root, *below)]
        first = next((each for each in roots if _can_be_written(each)), roots[0])
        self.root = first
        others = dict.fromkeys(each for each in roots if each != first)
        self.below = tuple(Store(each) for each in others)
        """The other stores of the chain; nothing is added to them."""
        if "\n" in str(self.root):
            raise InvalidStore(self.root, "there is a line break in its path")
        folders = {name: self.root / name for name in _FOLDERS}
        self.registry = Registry(folders["environments"])
        self.disposal = Disposal(folders["entries"], folders["unused"], folders["trash"])
        self._occupancy = Occupancy(self.root, folders["locks"])
        self._notes = {name: Notes(self.root / name, self._prepare) for name in _NOTES}
        try:
            layout = (self.root / "format").read_text("ascii").strip()
        except FileNotFoundError:
            self._refuse_another_folder()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidStore(self.root, f"not readable ({error})") from error
        else:
            if layout != LAYOUT:
                reason = f"its layout is {layout}, this commonwheel knows {LAYOUT}"
                raise InvalidStore(self.root, f"{reason}; upgrade commonwheel")

    def _refuse_another_folder(self) -> None:
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidStore(self.root, explain(error)) from error
        # Another process may be making the store; `format` is the last thing it makes.
        if any(
            n not in _FOLDERS and not n.startswith((".format.", "format")) for n in names
        ):
            raise InvalidStore(self.root, "it holds something else")

    @property
    def is_there(self) -> bool:
        """Whether the store has been made."""
        return (self.root / "format").exists()

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
            if _can_be_written(self.root):
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

    def _replace(self, made: Path, identifier: str) -> Entry:
        published = self.root / "entries" / identifier
        if not os.path.lexists(published):
            return self._publish(made, identifier)
        files.sync_filesystem(made)
        if not files.exchange(made, published):
            self.disposal.take_out(identifier)
            files.publish(made, published)
        files.sync_folder(published.parent)
        return self._published(published)

    def _publish(self, made: Path, identifier: str) -> Entry:
        """Make an entry that is complete visible, by a rename."""
        published = self.root / "entries" / identifier
        files.sync_filesystem(made)
        files.publish(made, published)
        files.sync_folder(published.parent)
        return self._published(published)

    def _published(self, root: Path) -> Entry:
        self._note_size(root)
        found = read_entry(root)
        assert found is not None, root
        return found

    def _note_size(self, root: Path) -> tuple[int, int]:
        size, inodes = entry_folder.measure(root)
        self._notes["sizes"].note(root.name, f"{size}/{inodes}")
        return size, inodes

    @property
    def takes_entries(self) -> bool:
        """Whether the ``root`` is a store already, and one that can be written."""
        return (self.root / "format").is_file() and _can_be_written(self.root)

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

    def sizes(
        self, identifiers: Iterable[str], *, noting: bool = True
    ) -> dict[str, tuple[int, int]]:
        """How many bytes the files of entries have, and how many inodes each takes.

        What was not noted is counted, and noted if the store may be changed (``noting``).
        """
        found: dict[str, tuple[int, int]] = {}
        for identifier in identifiers:
            size, _, inodes = self._notes["sizes"].get(identifier, "").partition("/")
            if size.isdecimal() and inodes.isdecimal():
                found[identifier] = int(size), int(inodes)
            elif noting:
                found[identifier] = self._note_size(self.root / "entries" / identifier)
            else:
                found[identifier] = entry_folder.measure(self.folder_of(identifier))
        return found

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

    def get(self, identifier: str) -> Entry | None:
        """The entry named ``identifier``, or None if there is none.

        :raises InvalidStore: it is there but cannot be read
        """
        return read_entry(self.root / "entries" / identifier)

    def identifiers(self) -> list[str]:
        """The names of the entries that there are now, without those of other stores.

        :raises InvalidStore: the store cannot be read
        """
        try:
            return sorted(os.listdir(self.root / "entries"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InvalidStore(self.root, explain(error)) from error

    @property
    def runs(self) -> Path:
        """The folder of the environments that programs are run in."""
        return self.root / "runs"

    @contextmanager
    def making_run(self, key: str) -> Iterator[Path]:
        """The folder of the run environment ``key``, while nobody else makes it.

        :raises InvalidStore: the store cannot be written
        """
        with self._writing():
            self._prepare()
            # not a lock of `_lock`, which adding an entry meanwhile would wait for
            lock = self._lock(key, "run-")
            lock.acquire()
        try:
            yield self.runs / key
        finally:
            lock.release()

    def folder_of(self, identifier: str) -> Path:
        """Where the entry named ``identifier`` is, or would be."""
        return self.root / "entries" / identifier

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

    @contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """While this lasts, nobody else uses this store; waits ``patience`` seconds.

        :raises StoreBusy: somebody used it all the time
        :raises InvalidStore: it cannot be locked, or written
        """
        with self._writing():
            self._prepare()
            with self._occupancy.alone(patience):
                yield

    def bury_leftovers(self, before: float) -> None:
        """Take out what processes that were killed have left in ``tmp/``.

        That is what nobody has the lock of, and was made before the time ``before``. To
        be called while :meth:`alone`.

        :raises OSError: it cannot be taken out
        """
        for path in sorted((self.root / "tmp").iterdir()):
            if os.lstat(path).st_mtime < before:
                try:
                    with self._lock(path.name).acquire(blocking=False):
                        self.disposal.bury(path)
                except filelock.Timeout:
                    continue  # somebody is at it

    def close(self) -> None:
        """Make this store one that is only read: a layer, for chains on other machines.

        What only a store needs that grows is taken out, and nothing can be written.

        :raises InvalidStore: that cannot be done
        """
        kept = ("entries", "runtime")
        with self._writing():
            for name in ("wheels", "sizes"):
                (self.root / name).unlink(missing_ok=True)
            Store(self.root).sizes(self.identifiers())  # noted once each, and in order
            for name in _FOLDERS:
                if name not in kept and (self.root / name).is_dir():
                    files.remove_tree(self.root / name)
            for identifier in self.identifiers():
                entry_folder.close(self.folder_of(identifier))
            for path in self.root.iterdir():
                mode = files.READ_ONLY_FOLDER if path.is_dir() else files.READ_ONLY_FILE
                path.chmod(mode)
            self.root.chmod(files.READ_ONLY_FOLDER)

    def tidy_notes(self) -> None:
        """Drop notes of what is not there any more, while :meth:`alone`."""
        there = set(self.identifiers())
        self._notes["origins"].keep(lambda _, identifier: identifier in there)
        self._notes["sizes"].keep(lambda identifier, _: identifier in there)
        digits = {_digits(identifier) for identifier in there}
        for name in ("wheels", "urls"):
            place = 1 if name == "wheels" else 0
            self._notes[name].keep(lambda *pair, place=place: pair[place][:8] in digits)

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

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidStore(self.root, explain(error)) from error

    def _prepare(self) -> None:
        """Make the store's folders, private to the user, or for a team."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FOLDERS:
            (self.root / name).mkdir(exist_ok=True)
        if not (self.root / "format").exists():
            if self._is_of_a_team:
                self._open_to_the_team()
            files.write_atomically(self.root / "format", f"{LAYOUT}\n".encode(), 0o644)

    @property
    def _is_of_a_team(self) -> bool:
        """Whether the root was made with mode 2775, or 3775, for a group to write in."""
        return self.root.stat().st_mode & _OF_A_TEAM == _OF_A_TEAM

    def _open_to_the_team(self) -> None:
        """Let the group write where the store grows, whatever the umask says.

        Not into entries: these are read-only, and belong to who has made them. A sticky
        root (3775) keeps each from renaming what is another's.
        """
        mode = stat.S_IMODE(self.root.stat().st_mode)
        for name in _FOLDERS:
            # all write to the lock files, which Linux may not allow in sticky folders:
            # https://docs.kernel.org/admin-guide/sysctl/fs.html#protected-regular
            wanted = mode & ~stat.S_ISVTX if name == "locks" else mode
            (self.root / name).chmod(wanted)
        paths = (*self._occupancy.files, *(self.root / name for name in _NOTES))
        for path in paths:
            path.touch()
            path.chmod(_TEAM_FILE)

    def _lock(self, digest: str, of: str = "") -> FileLock:
        path = self.root / "locks" / f"{of}{digest[:2]}.lock"
        if self._is_of_a_team:
            return FileLock(path, mode=_TEAM_FILE, fallback_to_soft=False)
        return FileLock(path, fallback_to_soft=False)

    @contextmanager
    def _staging(self, digest: str) -> Iterator[Path]:
        """A folder to make something in, while holding the lock of its hash.

        What is there under the same lock was left by a process that was killed.
        """
        parent, prefix = self.root / "tmp", f"{digest[:2]}-"
        for left in parent.glob(f"{prefix}*"):
            files.discard(left)
        with files.staging(parent, prefix) as staged:
            yield staged

    def _find_anywhere(self, prefix: str, digest: str) -> Entry | None:
        for each in (self, *self.below):
            found = each._find(prefix, digest)  # noqa: SLF001  a store of this class
            if found is not None:
                return found
        return None

    def _find(self, prefix: str, digest: str) -> Entry | None:
        """The entry whose wheel has the sha256 ``digest``, compared in full."""
        for identifier in _identifiers(prefix, digest):
            found = self.get(identifier)
            if found is None or found.description.sha256 == digest:
                return found
        return None

    def _free_identifier(self, prefix: str, digest: str) -> str:
        return next(
            identifier
            for identifier in _identifiers(prefix, digest)
            if not (self.root / "entries" / identifier).exists()
        )

    def _digest(self, path: Path, remember: bool) -> str:
        """The sha256 of a wheel file, from memory if its time stamps are known."""
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            stamp = (
                f"{status.st_dev}:{status.st_ino}:{status.st_size}"
                f":{status.st_mtime_ns}:{status.st_ctime_ns}"
            )
            noted = self._notes["wheels"].get(stamp, "") if remember else ""
            if len(noted) == 64:  # a line may have been cut off
                return noted
            digest = digests.of(file, ("sha256",))["sha256"]
        # A file that changed a moment ago can change again with the same time stamps.
        if remember and time.time() - status.st_ctime > _SETTLED:
            self._notes["wheels"].note(stamp, digest)
        return digest


def is_store(path: Path) -> bool:
    """Whether there is a store at ``path``."""
    return (path / "format").is_file() and (path / "entries").is_dir()


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


def _can_be_written(root: Path) -> bool:
    """Whether entries can be added to a store, which need not be there yet."""
    for folder in (root / "entries", root, *root.parents):
        if os.path.exists(folder):
            return os.access(folder, os.W_OK)
    return False


def _key(origin: str) -> str:
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()


def _state(path: Path) -> object:
    """Differs when a file has been replaced or written to."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _identifiers(prefix: str, digest: str) -> Iterator[str]:
    """The names an entry may have, in order; eight digits are not the whole hash."""
    yield f"{prefix}-{digest[:8]}"
    for number in itertools.count(2):
        yield f"{prefix}-{digest[:8]}-{number}"


def _digits(identifier: str) -> str:
    """The first digits of the hash, of an entry's name."""
    _, _, digits, *_ = (*identifier.split("-"), "", "", "")
    return digits
