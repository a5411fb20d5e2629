"""The inside of an entry's folder: making one, reading one, adding bytecode to one.

::

    entry.json                 what linking needs to know of it
    tree/                      what belongs in site-packages; read-only
    dist-info/                 metadata; RECORD as far as it is the same everywhere
    scripts/ headers/ data/    its other files
    bytecode/TAG               the tree holds bytecode for Pythons of this tag: how many
                               files, of how many bytes; then, a line each, "SHA256 PATH"
    bytecode/.TAG              the same, of what is being added
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from commonwheel import entry as entries
from commonwheel import files, record, tree, unpack
from commonwheel.bytecode import Compiler
from commonwheel.custody import Custody
from commonwheel.entry import Description, Entry
from commonwheel.errors import InvalidStore
from commonwheel.wheel import Area, Wheel

_BEGUN = "."
"""What the names of notes of bytecode begin with that is being added."""


def make(
    archive: Wheel,
    root: Path,
    identifier: str,
    digest: str,
    compiler: Compiler | None,
    custody: Custody = Custody(),  # noqa: B008  frozen
) -> Description:
    """Unpack a wheel, whose sha256 is ``digest``, into the new folder ``root``.

    It holds bytecode for the interpreter of ``compiler``, if there is one, and is
    read-only at the end, as ``custody`` says of the store.

    :raises InvalidWheel: a file is not what RECORD says
    :raises InvalidEnvironment: the interpreter does not run
    :raises OSError: the folder cannot be written
    """
    root.mkdir(mode=stat.S_IRWXU)
    for folder in (*(area.value for area in Area), "bytecode"):
        (root / folder).mkdir()
    unpack.extract(archive, root)
    description = unpack.describe(archive, root, identifier, digest)
    unpack.complete_metadata(archive, root / Area.METADATA.value)
    if compiler is not None:
        unpacked = root / Area.TREE.value
        compiler.compile(unpacked, tree.sources(unpack.tree_paths(archive)), unpacked)
        note = root / "bytecode" / compiler.cache_tag
        note.write_bytes(_describe_bytecode(unpacked))
    (root / "entry.json").write_text(entries.encode(description), "utf-8")
    seal(root, custody)
    return description


def read_entry(root: Path) -> Entry | None:
    """The entry whose folder is ``root``, in any store, or None if there is none.

    :raises InvalidStore: it is there but cannot be read
    """
    try:
        text = files.read(root / "entry.json").decode("utf-8")
        rows = _text(files.read(root / "dist-info" / "RECORD"))
        description = entries.decode(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidStore(root.parent.parent, f"entry {root.name}: {error}") from error
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


def _text(content: bytes) -> str:
    """With the line ends of text, whatever those of the file are."""
    return io.StringIO(content.decode("utf-8"), newline=None).read()


def read_description(root: Path) -> Description | None:
    """What the entry whose folder is ``root`` says of itself, or None if nothing.

    :raises OSError: it cannot be read
    :raises ValueError: it is damaged
    """
    try:
        return entries.decode(files.read(root / "entry.json").decode("utf-8"))
    except FileNotFoundError:
        return None


def has_bytecode(entry: Entry, cache_tag: str) -> bool:
    """Whether the tree holds bytecode for Pythons of ``cache_tag``."""
    return os.path.exists(entry.root / "bytecode" / cache_tag)


def takes_bytecode(entry: Entry) -> bool:
    """Whether bytecode can be added."""
    return os.access(entry.root / "bytecode", os.W_OK)


def add_bytecode(entry: Entry, compiler: Compiler, staged: Path) -> None:
    """Add bytecode for the interpreter of ``compiler``, made in the folder ``staged``.

    What is added is noted before: whoever is killed at it leaves what belongs there.

    :raises InvalidEnvironment: the interpreter does not run
    :raises OSError: the entry cannot be written
    """
    metadata = f"{entry.description.dist_info}/"
    paths = (row.path for row in record.parse(entry.record))
    sources = tree.sources(path for path in paths if not path.startswith(metadata))
    made, note = staged / "tree", staged / "note"
    made.mkdir()
    compiler.compile(entry.tree, sources, made)
    done = entry.root / "bytecode" / compiler.cache_tag
    begun = done.with_name(f"{_BEGUN}{done.name}")
    if begun.exists():
        _go_on(begun, entry.tree, made)
    note.write_bytes(_describe_bytecode(made))
    note.chmod(files.READ_ONLY_FILE)
    files.sync_filesystem(staged)
    os.replace(note, begun)
    files.merge(made, entry.tree)
    os.replace(begun, done)


def _go_on(begun: Path, unpacked: Path, made: Path) -> None:
    """Let what somebody was killed adding be part of what is ``made``, as it is.

    An interpreter may make something else of a source each time
    (:func:`commonwheel.bytecode.is_reproducible`): then a new note would not be true of
    what is there.

    :raises OSError: the note cannot be read, or the folder not be written
    """
    # Somebody else may have written the note: it is asked, and never says where to write.
    listed = dict(_listed(begun))
    for path in [each for each in made.rglob("*") if each.is_file()]:
        below = path.relative_to(made)
        try:
            content = files.read(unpacked / below)
        except FileNotFoundError:
            continue
        if hashlib.sha256(content).hexdigest() == listed.get(below.as_posix()):
            path.write_bytes(content)


def bytecode_of(entry: Entry, cache_tag: str) -> tuple[int, int] | None:
    """How many bytecode files for Pythons of ``cache_tag`` there are, of how many bytes.

    None if ``entry`` has none for them.
    """
    try:
        with open(entry.root / "bytecode" / cache_tag, encoding="utf-8") as file:
            number, size = file.readline().split()
    except (OSError, ValueError):
        return None
    return int(number), int(size)


def bytecode_digests(entry: Entry) -> Iterator[tuple[str, str]]:
    """All bytecode files that were made for ``entry``: path in the tree, sha256.

    :raises OSError: a note cannot be read
    """
    folder = entry.root / "bytecode"
    for name in sorted(os.listdir(folder)):
        if not name.startswith(_BEGUN):
            yield from _listed(folder / name)


def begun_bytecode(entry: Entry) -> dict[str, list[tuple[str, str]]]:
    """The notes of bytecode that somebody is adding, or was when killed, by their names.

    Of each file its path in the tree and its sha256; it may be there, or not yet.

    :raises OSError: a note cannot be read
    """
    folder = entry.root / "bytecode"
    names = sorted(name for name in os.listdir(folder) if name.startswith(_BEGUN))
    return {name: list(_listed(folder / name)) for name in names}


def _listed(note: Path) -> Iterator[tuple[str, str]]:
    text = note.read_text("utf-8", "surrogateescape")
    for line in text.splitlines()[1:]:
        digest, _, path = line.partition(" ")
        yield path, digest


def measure(root: Path) -> tuple[int, int]:
    """How many bytes the files of an entry have, and how many inodes it takes."""
    size, inodes = 0, 1
    for current, folders, names in os.walk(root):
        inodes += len(folders) + len(names)
        size += sum(os.lstat(os.path.join(current, name)).st_size for name in names)
    return size, inodes


def seal(
    root: Path,
    custody: Custody = Custody(),  # noqa: B008  frozen
) -> None:
    """Make an entry read-only, but for bytecode notes and new bytecode.

    Whatever the umask, access control lists and the folders above say.
    """
    for area in Area:
        files.seal(root / area.value, custody.sealed_mode)
    for file in (root / "entry.json", *(root / "bytecode").iterdir()):
        file.chmod(files.READ_ONLY_FILE)
    for folder in (root / "bytecode", root):
        folder.chmod(custody.entry_mode)


def close(root: Path) -> None:
    """Make an entry's own folder read-only, too: no bytecode can be added any more."""
    for folder in (root / "bytecode", root):
        folder.chmod(files.READ_ONLY_FOLDER)


def other_bytecode(entry: Entry, cache_tag: str) -> Iterator[str]:
    """The bytecode for other Pythons than those of ``cache_tag``, and its notes.

    Relative to the entry's folder.

    :raises OSError: a note cannot be read
    """
    tree_folder = entry.tree.relative_to(entry.root)
    begun = begun_bytecode(entry)
    for path in (
        *(path for path, _ in bytecode_digests(entry)),
        *(path for paths in begun.values() for path, _ in paths),
    ):
        if not path.endswith(f".{cache_tag}.pyc"):
            yield os.path.join(tree_folder, path)
    for name in os.listdir(entry.root / "bytecode"):
        if name != cache_tag:
            yield os.path.join("bytecode", name)


def _describe_bytecode(folder: Path) -> bytes:
    """What ``bytecode/TAG`` says of the bytecode files below ``folder``."""
    rows: list[str] = []
    total = 0
    for path in sorted(folder.rglob("__pycache__/*.pyc")):
        content = path.read_bytes()
        total += len(content)
        name = path.relative_to(folder).as_posix()
        rows.append(f"{hashlib.sha256(content).hexdigest()} {name}\n")
    text = f"{len(rows)} {total}\n{''.join(rows)}"
    return text.encode("utf-8", "surrogateescape")
