"""The store: wheel -> entry. The only module that knows a store's layout.

::

    STORE/
      format                      the version of this layout, "1"
      entries/NAME-VERSION-HASH8/ one unpacked wheel, complete from the moment it is there
        entry.json                what linking needs to know of it
        tree/                     what belongs in site-packages; read-only
        dist-info/                its metadata, RECORD as far as it is the same everywhere
        scripts/ headers/ data/   its other files
        bytecode/TAG              the tree holds bytecode for Pythons of this tag: how many
                                  files, of how many bytes
      tmp/                        entries being made
      locks/                      at most 256 lock files, by the first digits of the hash
      wheels                      "DEVICE:INODE:SIZE:MTIME:CTIME SHA256" of wheel files seen
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from commonwheel import entry as entries
from commonwheel import files, record, tree, wheel
from commonwheel.bytecode import Compiler
from commonwheel.entry import Description, Entry, Script, StoredFile
from commonwheel.errors import InvalidStore, InvalidWheel
from commonwheel.wheel import Area, Member, Wheel

LAYOUT = "1"
_BLOCK = 1 << 20
_SETTLED = 2.0
"""Seconds after which a file's timestamps tell a later change of it apart; the largest
timestamp step of a filesystem in use (FAT) is two."""

_TOP_LEVEL = "top_level.txt"
_WRITTEN_BY_INSTALLERS = frozenset({"INSTALLER", "REQUESTED", "direct_url.json"})
"""Metadata that says how a distribution was installed; a wheel's own is not true."""


class Store:
    """A folder of unpacked wheels that environments share."""

    def __init__(self, root: Path) -> None:
        """Open the store at ``root``; it is made when the first entry is added.

        :raises InvalidStore: there is something else, or a store of another layout
        """
        self.root = Path(os.path.abspath(root))
        try:
            layout = (self.root / "format").read_text("ascii").strip()
        except FileNotFoundError:
            if self.root.is_dir() and any(self.root.iterdir()):
                raise InvalidStore(self.root, "it holds something else") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidStore(self.root, f"not readable ({error})") from error
        else:
            if layout != LAYOUT:
                reason = f"its layout is {layout}, this commonwheel knows {LAYOUT}"
                raise InvalidStore(self.root, f"{reason}; upgrade commonwheel")

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
        digest = self._digest(path, remember)
        prefix = "-".join(path.name.split("-")[:2])
        found = self._find(prefix, digest)
        if found is not None:
            self._ensure_bytecode(found, compiler)
            return found
        archive = wheel.read(path)
        try:
            self._prepare()
            with self._lock(digest):
                found = self._find(prefix, digest)  # published while we waited?
                if found is None:
                    return self._unpack(archive, digest, compiler)
        except OSError as error:
            raise InvalidStore(self.root, f"{error.strerror or error}") from error
        self._ensure_bytecode(found, compiler)
        return found

    def get(self, identifier: str) -> Entry | None:
        """The entry named ``identifier``, or None if there is none.

        :raises InvalidStore: it is there but cannot be read
        """
        return read_entry(self.root / "entries" / identifier)

    def _prepare(self) -> None:
        """Make the store's folders, private to the user."""
        if (self.root / "format").exists():
            return
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("entries", "tmp", "locks"):
            (self.root / name).mkdir(exist_ok=True)
        files.write_atomically(self.root / "format", f"{LAYOUT}\n".encode(), 0o644)

    def _lock(self, digest: str) -> FileLock:
        path = self.root / "locks" / f"{digest[:2]}.lock"
        return FileLock(path, fallback_to_soft=False)

    def _find(self, prefix: str, digest: str) -> Entry | None:
        """The entry whose wheel has the sha256 ``digest``, compared in full."""
        for identifier in _identifiers(prefix, digest):
            found = self.get(identifier)
            if found is None or found.description.sha256 == digest:
                return found
        return None

    def _unpack(self, archive: Wheel, digest: str, compiler: Compiler) -> Entry:
        with files.staging(self.root / "tmp", f"{archive.prefix}-") as staged:
            root = staged / "entry"
            root.mkdir()
            for folder in (*(area.value for area in Area), "bytecode"):
                (root / folder).mkdir()
            _extract(archive, root)
            identifier = self._free_identifier(archive.prefix, digest)
            description = _describe(archive, identifier, digest, root)
            rows = _write_metadata(archive, description, root)
            unpacked = root / Area.TREE.value
            compiler.compile(unpacked, tree.sources(_tree_paths(archive)), unpacked)
            note = _measure_bytecode(unpacked)
            (root / "bytecode" / compiler.cache_tag).write_bytes(note)
            for area in Area:
                files.seal(root / area.value)
            root.chmod(0o755)
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
        if done.exists() or not os.access(done.parent, os.W_OK):
            return
        try:
            with self._lock(entry.description.sha256), files.staging(
                self.root / "tmp", f"{entry.description.id}-"
            ) as staged:
                if done.exists():
                    return
                metadata = f"{entry.description.dist_info}/"
                paths = (row.path for row in record.parse(entry.record))
                modules = tree.sources(p for p in paths if not p.startswith(metadata))
                compiler.compile(entry.tree, modules, staged)
                note = _measure_bytecode(staged)
                files.sync_filesystem(staged)
                files.merge(staged, entry.tree)
                files.write_atomically(done, note, files.READ_ONLY_FILE)
        except OSError as error:
            raise InvalidStore(self.root, f"{error.strerror or error}") from error

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
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidStore(self.root, f"wheels: {error}") from error
        pairs = (line.split(" ") for line in lines)
        # a line that a power cut left incomplete is as good as none
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and len(pair[1]) == 64}

    def _note(self, stamp: str, digest: str) -> None:
        """Remember the hash of a wheel file; one write, so lines never mix."""
        if not os.access(self.root, os.W_OK):
            return
        self._prepare()
        self._seen[stamp] = digest
        with open(self.root / "wheels", "ab", buffering=0) as file:
            file.write(f"{stamp} {digest}\n".encode("ascii"))


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
    except (OSError, ValueError, KeyError) as error:
        raise InvalidStore(root.parent.parent, f"entry {root.name}: {error}") from error
    return _entry(root, description, rows)


def bytecode_of(entry: Entry, cache_tag: str) -> tuple[int, int] | None:
    """How many bytecode files ``entry`` has for Pythons of ``cache_tag``, of how many
    bytes; None if it has none."""
    try:
        files_, size = (entry.root / "bytecode" / cache_tag).read_text("ascii").split()
    except (OSError, ValueError):
        return None
    return int(files_), int(size)


def _measure_bytecode(folder: Path) -> bytes:
    """What ``bytecode/TAG`` says when the bytecode files below ``folder`` are added."""
    sizes = [path.stat().st_size for path in folder.rglob("__pycache__/*.pyc")]
    return f"{len(sizes)} {sum(sizes)}\n".encode("ascii")


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


def _extract(archive: Wheel, root: Path) -> None:
    """Write the wheel's files below ``root``, comparing their hashes on the way."""
    made: set[Path] = set()
    with zipfile.ZipFile(archive.path) as source:
        for member in archive.members:
            if member.area is Area.METADATA and member.path in wheel.UNRECORDED:
                continue
            target = root / member.area.value / member.path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _extract_member(archive, source, member, target)


def _extract_member(
    archive: Wheel, source: zipfile.ZipFile, member: Member, target: Path
) -> None:
    algorithm = member.hash.partition("=")[0]
    hasher = hashlib.new(algorithm)
    written = 0
    try:
        # "x": two members for one place (`pkg/a` and `x.data/purelib/pkg/a`) collide
        with source.open(member.name) as data, open(target, "xb") as file:
            while block := data.read(_BLOCK):
                hasher.update(block)
                file.write(block)
                written += len(block)
            if member.executable:
                os.chmod(target, 0o755)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        reason = f"damaged or incomplete ({error})"
        raise InvalidWheel(archive.path, reason, member.name) from error
    except FileExistsError:
        reason = "another member of the wheel belongs at the same place"
        raise InvalidWheel(archive.path, reason, member.name) from None
    if written != member.size:
        reason = f"{written} bytes, not {member.size} as its header says"
        raise InvalidWheel(archive.path, reason, member.name)
    if record.encode_digest(algorithm, hasher.digest()) != member.hash:
        raise InvalidWheel(archive.path, "its hash is not the one in RECORD", member.name)


def _describe(archive: Wheel, identifier: str, digest: str, root: Path) -> Description:
    by_area: dict[Area, list[Member]] = {area: [] for area in Area}
    for member in archive.members:
        by_area[member.area].append(member)
    paths = _tree_paths(archive)
    real = [each for each in by_area[Area.TREE] if tree.must_be_real(each.path)]
    metadata = {member.path for member in by_area[Area.METADATA]} - wheel.UNRECORDED
    return Description(
        id=identifier,
        sha256=digest,
        filename=archive.path.name,
        name=archive.name,
        version=archive.version,
        dist_info=archive.dist_info,
        root_is_purelib=archive.root_is_purelib,
        tags=tuple(sorted(map(str, archive.tags))),
        links=tree.links(path for path in paths if not tree.must_be_real(path)),
        real=_stored(real),
        metadata=tuple(sorted({*metadata, _TOP_LEVEL} - _WRITTEN_BY_INSTALLERS)),
        script_files=_stored(by_area[Area.SCRIPTS]),
        headers=_stored(by_area[Area.HEADERS]),
        data=_stored(by_area[Area.DATA]),
        scripts=tuple(Script(**asdict(script)) for script in archive.scripts),
        files=len(paths),
        folders=len(tree.folders(paths)),
        size=sum(member.size for member in by_area[Area.TREE]),
    )


def _stored(members: Iterable[Member]) -> tuple[StoredFile, ...]:
    return tuple(
        StoredFile(member.path, member.hash, member.size, member.executable)
        for member in sorted(members, key=lambda member: member.path)
    )


def _write_metadata(archive: Wheel, description: Description, root: Path) -> str:
    """Complete the entry's metadata; returns the rows of its RECORD."""
    dist_info = root / Area.METADATA.value
    rows = [
        record.Row(_recorded_path(archive, member), member.hash, str(member.size))
        for member in archive.members
        if member.area is Area.TREE
        or (member.area is Area.METADATA and member.path in description.metadata)
    ]
    top_level = dist_info / _TOP_LEVEL
    if not top_level.exists():
        # RECORD in an environment has rows of ours; without this file,
        # `importlib.metadata.packages_distributions` guesses from the rows.
        text = "".join(f"{name}\n" for name in tree.top_level_names(_tree_paths(archive)))
        top_level.write_text(text, "utf-8")
        digest = hashlib.sha256(text.encode()).digest()
        path = f"{archive.dist_info}/{_TOP_LEVEL}"
        rows.append(record.Row(path, record.encode_digest("sha256", digest), str(len(text.encode()))))
    for name in _WRITTEN_BY_INSTALLERS:
        (dist_info / name).unlink(missing_ok=True)
    text = record.render(sorted(rows))
    (dist_info / "RECORD").write_text(text, "utf-8")
    (root / "entry.json").write_text(entries.encode(description), "utf-8")
    (root / "entry.json").chmod(files.READ_ONLY_FILE)
    return text


def _recorded_path(archive: Wheel, member: Member) -> str:
    """Where a member lies relative to site-packages."""
    if member.area is Area.METADATA:
        return f"{archive.dist_info}/{member.path}"
    return member.path


def _tree_paths(archive: Wheel) -> list[str]:
    return [member.path for member in archive.members if member.area is Area.TREE]
