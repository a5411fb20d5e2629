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
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import resources
from pathlib import Path

from filelock import FileLock

from commonwheel import entry as entries
from commonwheel import files, record, runtime, tree, unpack, wheel
from commonwheel.bytecode import Compiler
from commonwheel.entry import Description, Entry
from commonwheel.errors import InvalidStore, InvalidWheel, explain
from commonwheel.wheel import Area, Wheel

LAYOUT = "1"
_BLOCK = 1 << 20
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
        self._ensure_bytecode(found, compiler)
        return found

    def bytecode_of_runtime(self, compiler: Compiler) -> bytes:
        """Bytecode of the runtime for the interpreter of ``compiler``, compiled once.

        Empty if it is not there and the store cannot be written.

        :raises InvalidEnvironment: the interpreter does not run
        :raises InvalidStore: the store cannot be written
        """
        digest = hashlib.sha256(runtime.SOURCE.read_bytes()).hexdigest()
        kept = self.root / "runtime" / f"{digest[:16]}.{compiler.cache_tag}.pyc"
        try:
            return kept.read_bytes()
        except OSError:
            if self.root.exists() and not os.access(self.root, os.W_OK):
                return b""
        with self._writing():
            self._prepare()
            with (
                resources.as_file(runtime.SOURCE) as source,
                self._lock(digest),
                self._staging(digest) as staged,
            ):
                compiler.compile(source.parent, [source.name], staged)
                content = staged.joinpath(runtime.bytecode_name(compiler.cache_tag))
                compiled = content.read_bytes()
            files.write_atomically(kept, compiled, files.READ_ONLY_FILE)
        return compiled

    def get(self, identifier: str) -> Entry | None:
        """The entry named ``identifier``, or None if there is none.

        :raises InvalidStore: it is there but cannot be read
        """
        return read_entry(self.root / "entries" / identifier)

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
        description = unpack.describe(archive, identifier, digest)
        with self._staging(digest) as staged:
            root = staged / "entry"
            root.mkdir()
            for folder in (*(area.value for area in Area), "bytecode"):
                (root / folder).mkdir()
            unpack.extract(archive, root)
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

    def _ensure_bytecode(self, entry: Entry, compiler: Compiler) -> None:
        """Add bytecode for another interpreter, unless the entry has it.

        In a store that cannot be written nothing is added: imports then compile in
        memory, as they do from any read-only folder.
        """
        done = entry.root / "bytecode" / compiler.cache_tag
        if os.path.exists(done) or not os.access(done.parent, os.W_OK):
            return
        with self._writing():
            self._prepare()
            with self._lock(entry.description.sha256):
                if not done.exists():
                    self._add_bytecode(entry, compiler, done)

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
            sha256 = hashlib.sha256()
            while block := file.read(_BLOCK):
                sha256.update(block)
        digest = sha256.hexdigest()
        # A file that changed a moment ago can change again with the same time stamps.
        if remember and time.time() - status.st_ctime > _SETTLED:
            self._note(stamp, digest)
        return digest

    @cached_property
    def _seen(self) -> dict[str, str]:
        """The hashes of the wheel files seen before, by identity and time stamps."""
        try:
            lines = (self.root / "wheels").read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}  # files are read again, no more
        pairs = (line.split(" ") for line in lines)
        # a line that a power cut left incomplete is as good as none
        return {
            pair[0]: pair[1] for pair in pairs if len(pair) == 2 and len(pair[1]) == 64
        }

    def _note(self, stamp: str, digest: str) -> None:
        """Remember the hash of a wheel file, if that is possible."""
        try:
            self._prepare()
            # one write to the end of the file, so lines never mix
            with open(self.root / "wheels", "ab", buffering=0) as file:
                file.write(f"{stamp} {digest}\n".encode("ascii"))
        except OSError:
            return
        self._seen[stamp] = digest


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
