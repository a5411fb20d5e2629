"""The store: wheel -> entry. The only module that knows a store's layout.

::

    STORE/
      format                       the version of this layout, "1"
      entries/NAME-VERSION-HASH8/  one unpacked wheel, complete as soon as it is there
        entry.json                 what linking needs to know of it
        tree/                      what belongs in site-packages; read-only
        dist-info/                 metadata; RECORD as far as it is the same everywhere
        scripts/ headers/ data/    its other files
        bytecode/TAG               the tree holds bytecode for Pythons of this tag: how
                                   many files, of how many bytes
      tmp/                         entries being made
      locks/                       at most 256 lock files, by the hash's first digits
      runtime/HASH.TAG.pyc         bytecode of the file that environments are given
      wheels                       "DEVICE:INODE:SIZE:MTIME:CTIME SHA256" of wheels seen
      origins                      "SHA256 ENTRY": what else than its sha256 says which
                                   wheel an entry is of, such as a commit, hashed
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from packaging.utils import canonicalize_name

from commonwheel import digests, files, record, runtime, tree, unpack, wheel
from commonwheel import entry as entries
from commonwheel.bytecode import Compiler
from commonwheel.entry import Description, Entry
from commonwheel.errors import InvalidStore, InvalidWheel, explain
from commonwheel.wheel import Area, Wheel

LAYOUT = "1"
_SETTLED = 2.0
"""Seconds after which a file's timestamps tell a later change of it apart; the largest
timestamp step of a filesystem in use (FAT) is two."""

_FOLDERS = ("entries", "tmp", "locks", "runtime")


class Store:
    """A folder of unpacked wheels that environments share."""

    def __init__(self, root: Path) -> None:
        """Open the store at ``root``; it is made when the first entry is added.

        :raises InvalidStore: there is something else, or a store of another layout
        """
        self.root = Path(os.path.abspath(root))
        if "\n" in str(self.root):
            raise InvalidStore(self.root, "there is a line break in its path")
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

    def add(self, path: Path, compiler: Compiler, *, remember: bool = False) -> Entry:
        """The entry of the wheel file ``path``; it is unpacked if it is not there yet.

        It holds bytecode for the interpreter of ``compiler``. ``remember`` records the
        file's identity and time stamps with its hash, so that the next call need not
        read the file again; for files that stay where they are.

        :raises InvalidWheel: the file is not a wheel
        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        :raises OSError: the wheel file cannot be read
        """
        before = _state(path)
        digest = self._digest(path, remember)
        prefix = "-".join(path.name.split("-")[:2])
        found = self._find(prefix, digest)
        if found is None:
            archive = wheel.read(path)
            with self._writing():
                self._prepare()
                with self._lock(digest):
                    found = self._find(prefix, digest)  # published while we waited?
                    if found is None:
                        return self._unpack(archive, before, digest, compiler)
        self.ensure_bytecode(found, compiler)
        return found

    def bytecode_of_runtime(self, compiler: Compiler) -> bytes:
        """Bytecode of the runtime for the interpreter of ``compiler``, compiled once.

        Empty if it is not there and the store cannot be written.

        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        """
        source = runtime.SOURCE
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        kept = self.root / "runtime" / f"{digest[:16]}.{compiler.cache_tag}.pyc"
        try:
            return kept.read_bytes()
        except OSError:
            if self.root.exists() and not os.access(self.root, os.W_OK):
                return b""
        with self._writing():
            self._prepare()
            with self._lock(digest), self._staging(digest) as staged:
                compiler.compile(source.parent, [source.name], staged)
                name = runtime.bytecode_name(compiler.cache_tag)
                compiled = staged.joinpath(name).read_bytes()
            files.write_atomically(kept, compiled, files.READ_ONLY_FILE)
        return compiled

    def get(self, identifier: str) -> Entry | None:
        """The entry named ``identifier``, or None if there is none.

        :raises InvalidStore: it is there but cannot be read
        """
        return read_entry(self.root / "entries" / identifier)

    def contents(self) -> Contents:
        """The entries that there are now, to be found by what they are of.

        :raises InvalidStore: the store cannot be read
        """
        try:
            return Contents(self, os.listdir(self.root / "entries"))
        except FileNotFoundError:
            return Contents(self, ())
        except OSError as error:
            raise InvalidStore(self.root, explain(error)) from error

    def of_origin(self, origin: str) -> Entry | None:
        """The entry of the wheel that came from ``origin``, if that is remembered.

        :raises InvalidStore: it is there but cannot be read
        """
        identifier = self._origins.get(_key(origin))
        return self.get(identifier) if identifier is not None else None

    def remember_origin(self, origin: str, entry: Entry) -> None:
        """Remember that the wheel of ``entry`` came from ``origin``, if that is possible.

        ``origin`` is whatever text says for ever which wheel is meant, and is not the
        wheel's sha256: another hash of it, a commit it was built from.
        """
        key, identifier = _key(origin), entry.description.id
        if self._origins.get(key) != identifier and self._append(
            "origins", f"{key} {identifier}"
        ):
            self._origins[key] = identifier

    @cached_property
    def _origins(self) -> dict[str, str]:
        """Identifiers of entries by what their wheels came from; the last line counts."""
        return self._pairs("origins")

    def ensure_bytecode(self, entry: Entry, compiler: Compiler) -> None:
        """Add bytecode for another interpreter to an entry, unless it has it.

        In a store that cannot be written nothing is added: imports then compile in
        memory, as they do from any read-only folder.

        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        """
        done = entry.root / "bytecode" / compiler.cache_tag
        if os.path.exists(done) or not os.access(done.parent, os.W_OK):
            return
        with self._writing():
            self._prepare()
            with self._lock(entry.description.sha256):
                if not done.exists():
                    self._add_bytecode(entry, compiler, done)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidStore(self.root, explain(error)) from error

    def _prepare(self) -> None:
        """Make the store's folders, private to the user."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FOLDERS:
            (self.root / name).mkdir(exist_ok=True)
        if not (self.root / "format").exists():
            files.write_atomically(self.root / "format", f"{LAYOUT}\n".encode(), 0o644)

    def _lock(self, digest: str) -> FileLock:
        path = self.root / "locks" / f"{digest[:2]}.lock"
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

    def _find(self, prefix: str, digest: str) -> Entry | None:
        """The entry whose wheel has the sha256 ``digest``, compared in full."""
        for identifier in _identifiers(prefix, digest):
            found = self.get(identifier)
            if found is None or found.description.sha256 == digest:
                return found
        return None

    def _unpack(
        self, archive: Wheel, before: object, digest: str, compiler: Compiler
    ) -> Entry:
        """Make an entry aside and publish it, complete, by a rename."""
        identifier = self._free_identifier(archive.prefix, digest)
        with self._staging(digest) as staged:
            root = staged / "entry"
            root.mkdir()
            for folder in (*(area.value for area in Area), "bytecode"):
                (root / folder).mkdir()
            unpack.extract(archive, root)
            description = unpack.describe(archive, root, identifier, digest)
            rows = unpack.complete_metadata(archive, root / Area.METADATA.value)
            unpacked = root / Area.TREE.value
            sources = tree.sources(unpack.tree_paths(archive))
            compiler.compile(unpacked, sources, unpacked)
            note = root / "bytecode" / compiler.cache_tag
            note.write_bytes(_measure_bytecode(unpacked))
            (root / "entry.json").write_text(entries.encode(description), "utf-8")
            _seal(root)
            if _state(archive.path) != before:
                # an entry must not be of other bytes than its sha256 says
                raise InvalidWheel(archive.path, "it changed while it was unpacked")
            files.sync_filesystem(staged)
            published = self.root / "entries" / identifier
            files.publish(root, published)
            files.sync_folder(published.parent)
        return _entry(published, description, rows)

    def _add_bytecode(self, entry: Entry, compiler: Compiler, done: Path) -> None:
        metadata = f"{entry.description.dist_info}/"
        paths = (row.path for row in record.parse(entry.record))
        sources = tree.sources(path for path in paths if not path.startswith(metadata))
        with self._staging(entry.description.sha256) as staged:
            compiler.compile(entry.tree, sources, staged)
            note = _measure_bytecode(staged)
            files.sync_filesystem(staged)
            files.merge(staged, entry.tree)
            files.write_atomically(done, note, files.READ_ONLY_FILE)

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
            if remember and stamp in self._seen:
                return self._seen[stamp]
            digest = digests.of(file, ("sha256",))["sha256"]
        # A file that changed a moment ago can change again with the same time stamps.
        if remember and time.time() - status.st_ctime > _SETTLED:
            self._note(stamp, digest)
        return digest

    @cached_property
    def _seen(self) -> dict[str, str]:
        """The hashes of the wheel files seen before, by identity and time stamps."""
        found = self._pairs("wheels")
        # a line that a power cut left incomplete is as good as none
        return {stamp: digest for stamp, digest in found.items() if len(digest) == 64}

    def _note(self, stamp: str, digest: str) -> None:
        """Remember the hash of a wheel file, if that is possible."""
        if self._append("wheels", f"{stamp} {digest}"):
            self._seen[stamp] = digest

    def _pairs(self, name: str) -> dict[str, str]:
        """What the lines of a file of notes say; nothing if it cannot be read."""
        try:
            lines = (self.root / name).read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}  # what is noted can be found out again
        pairs = (line.split(" ") for line in lines)
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    def _append(self, name: str, line: str) -> bool:
        """Add a line to a file of notes, if that is possible; whether it was."""
        try:
            self._prepare()
            # one write to the end of the file, so lines never mix
            with open(self.root / name, "ab", buffering=0) as file:
                file.write(f"{line}\n".encode("ascii"))
        except OSError:
            return False
        return True


class Contents:
    """The entries that a store held at one time, to be found by what they are of."""

    def __init__(self, store: Store, identifiers: Iterable[str]) -> None:
        """``identifiers``: the names of their folders."""
        self._store = store
        self._by_name: dict[str, list[tuple[str, str]]] = {}
        for identifier in sorted(identifiers):
            name, _, digest, *_ = (*identifier.split("-"), "", "")
            found = self._by_name.setdefault(canonicalize_name(name), [])
            found.append((digest, identifier))

    def of_name(self, name: str) -> Iterator[Entry]:
        """The entries of a distribution's (normalized name) wheels, whatever version.

        :raises InvalidStore: one of them cannot be read
        """
        for _, identifier in self._by_name.get(name, ()):
            entry = self._store.get(identifier)
            if entry is not None:
                yield entry

    def of_digests(self, name: str, digests: Collection[str]) -> Iterator[Entry]:
        """The entries of a distribution's wheels that have one of the sha256 ``digests``.

        :raises InvalidStore: one of them cannot be read
        """
        beginnings = {digest[:8] for digest in digests}
        for beginning, identifier in self._by_name.get(name, ()):
            if beginning in beginnings:
                entry = self._store.get(identifier)
                if entry is not None and entry.description.sha256 in digests:
                    yield entry


def read_entry(root: Path) -> Entry | None:
    """The entry whose folder is ``root``, in any store, or None if there is none.

    :raises InvalidStore: it is there but cannot be read
    """
    try:
        text = (root / "entry.json").read_text("utf-8")
        rows = (root / "dist-info" / "RECORD").read_text("utf-8")
        description = entries.decode(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidStore(root.parent.parent, f"entry {root.name}: {error}") from error
    return _entry(root, description, rows)


def bytecode_of(entry: Entry, cache_tag: str) -> tuple[int, int] | None:
    """How many bytecode files for Pythons of ``cache_tag`` there are, of how many bytes.

    None if ``entry`` has none for them.
    """
    try:
        files_, size = (entry.root / "bytecode" / cache_tag).read_text("ascii").split()
    except (OSError, ValueError):
        return None
    return int(files_), int(size)


def _measure_bytecode(folder: Path) -> bytes:
    """What ``bytecode/TAG`` says when the bytecode files below ``folder`` are added."""
    sizes = [path.stat().st_size for path in folder.rglob("__pycache__/*.pyc")]
    return f"{len(sizes)} {sum(sizes)}\n".encode("ascii")


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


def _entry(root: Path, description: Description, rows: str) -> Entry:
    folders = {area: root / area.value for area in Area}
    return Entry(
        description,
        root,
        tree=folders[Area.TREE],
        dist_info=folders[Area.METADATA],
        scripts=folders[Area.SCRIPTS],
        headers=folders[Area.HEADERS],
        data=folders[Area.DATA],
        record=rows,
    )


def _seal(root: Path) -> None:
    """Make an entry read-only, but for bytecode notes and new bytecode."""
    for area in Area:
        files.seal(root / area.value)
    for file in (root / "entry.json", *(root / "bytecode").iterdir()):
        file.chmod(files.READ_ONLY_FILE)
    for folder in (root, root / "bytecode"):
        folder.chmod(0o755)
