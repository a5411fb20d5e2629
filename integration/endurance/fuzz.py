"""Wheels that somebody damaged or wrote to deceive, by the million.

Each input is made of a seed and its number alone: wheels are built from parts with wrong
parts, figures and names among them (with right checksums, so that rules behind those are
reached), or the bytes of a right one are changed. What is held, of every input:

- reading and unpacking it ends, soon, with a wheel or with InvalidWheel;
- nothing is written, made or removed outside the folder that it is unpacked into;
- a wheel that is accepted unpacks to what the standard library reads out of it;
- memory does not grow.

``python -m endurance.fuzz --seed 1 --only 4711`` does one of them again, and shows it.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonwheel import unpack, wheel
from commonwheel.errors import InvalidWheel
from commonwheel.limits import Limits
from commonwheel.wheel_rules import WheelRule
from endurance.figures import Figure

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import zip_file
from wheel_file import Rows, hash_and_size
from zip_file import INFO, Part, archive, streamed, wheel_parts

FILE_NAME = "sample-1.0-py3-none-any.whl"
LIMITS = Limits(members=50, size=100_000, ratio=20, path=100, metadata=5_000)
"""Small, so that they are reached."""
HANG = 60
"""Seconds after which an input counts as one that hangs, on a machine with other work."""
SLOW = 2.0
"""Seconds of processor time that none may take."""
GROWTH = 32
"""MiB that a process may grow after its first thousand inputs."""
_WARM = 1_000
_MEMORY = Path("/dev/shm")
"""Where files cost nothing, if it is there."""

DATA = "sample-1.0.data"
POINTS = (
    b"[console_scripts]\ntool = p:main\nother = p.q:c.d [extra]\n[gui_scripts]\ng=p:g\n"
)
_FILES = {
    "p/__init__.py": b"x = 1\n" * 50,
    "p/data.bin": bytes(range(256)),
    "p/sub/é.txt": "é".encode(),
    f"{DATA}/scripts/run": b"#!python\n",
    f"{DATA}/purelib/q.py": b"",
    f"{DATA}/data/share/x": b"x",
}
_NUMBERS = (0, 1, 2, 4, 8, 9, 20, 30, 45, 46, 63, 0x7F, 0x80, 0xFF, 0xFFFE, 0xFFFF)
_LARGE = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_FLAGS = (0, 1, 2, 6, 8, 0x20, 0x40, 0x800, 0x808, 0x2000)
_MODES = (0, 0o100644, 0o100755, 0o104755, 0o40755, 0o120777, 0o10644, 0o60644, 0o644)
_NAMES = (
    *(
        "p",
        "P/__init__.py",
        "p/",
        "../x",
        "/x",
        "c:/x",
        "p\\x",
        "p//x",
        "./x",
        "p/..",
        "",
    ),
    *(
        "p/aux",
        "p/x.",
        "p/x ",
        "p/\0",
        "p/a\nb",
        "p/\u2028",
        "é",
        "e\u0301/x",
        "\u00e9/x",
    ),
    *("a/" * 60, "x" * 300, f"{DATA}/x", f"{DATA}/data/pyvenv.cfg", f"{DATA}/data//x"),
    *(f"{DATA}/scripts/python3", f"{DATA}/data/bin/tool", f"{DATA}/purelib/p/data.bin"),
    *(f"{DATA}/platlib/x-1.dist-info/y", "x-1.dist-info/y", "x-1.data/purelib/y"),
    *(f"{INFO}/INSTALLER", f"{INFO}/RECORD.jws", f"{INFO}/RECORD", "_commonwheel.py"),
    *("sitecustomize.py", "q/z", "q.py", "p/sub", "r/1", "r/2", "s.pth", "\ud800"),
)
_WORDS = (
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\xff" * 4),
    *(b"\0" * 4, b"../", b"\\", b"\0", b"\n", b'"', b",", b"=", b"[", b"sha256="),
    *(b"Name: x\n", b"Version: 2\n", b"\n\n", b"\xff\xff\xff\xff\xff\xff\xff\xff"),
)
_LINES = (
    *(b"../x = p:m", b"python = p:m", b"tool = p:m", b"Tool = p:m", b"x = p", b"= p:m"),
    *(b"x = :m", b"[gui_scripts]", b"[x", b"run = p:m", b" x", b"x : p:m", b"a/b = p:m"),
)

zip_file.deflate = functools.lru_cache(4_096)(zip_file.deflate)


def make(seed: int, number: int) -> bytes:
    """The input of this ``number``."""
    chance = random.Random(seed << 40 | number)
    content = _built(chance)
    while chance.random() < 0.3:
        content = chance.choice(_ON_BYTES)(chance, content)
    return content


def _built(chance: random.Random) -> bytes:
    """An archive of parts, of which none, one or more are wrong."""
    metadata: dict[str, bytes | None] = {"entry_points.txt": POINTS}
    edit: Callable[[Rows], Rows] = list
    if chance.random() < 0.2:
        metadata.update(_metadata(chance))
    if chance.random() < 0.2:
        edit = functools.partial(_edited, chance)
    extra = [_member(chance) for _ in range(chance.choice((0, 0, 0, 1, 1, 2)))]
    files = dict(chance.sample(sorted(_FILES.items()), chance.randint(1, len(_FILES))))
    parts = wheel_parts(files, metadata=metadata, edit_record=edit, extra=extra)
    while chance.random() < 0.4:
        index = chance.randrange(len(parts))
        parts[index] = chance.choice(_ON_PARTS)(chance, parts[index])
    if chance.random() < 0.1:
        chance.shuffle(parts)
    return _archived(chance, parts)


def _archived(chance: random.Random, parts: list[Part]) -> bytes:
    options: dict[str, Any] = {}
    if chance.random() < 0.1:
        options["large"] = {}
        if chance.random() < 0.5:
            key = chance.choice(("length", "needed", "disk", "disks", "at", "count"))
            options["large"] = {key: chance.choice(_NUMBERS)}
    if chance.random() < 0.1:
        key = chance.choice(("disk", "central", "here", "count", "size", "begin"))
        options["end"] = {key: chance.choice(_NUMBERS)}
    if chance.random() < 0.05:
        key = chance.choice(("before_central", "after_central"))
        options[key] = chance.choice(_WORDS)
    if chance.random() < 0.05:
        options["listed"] = functools.partial(_relisted, chance)
    return archive(parts, **options)


def _relisted(chance: random.Random, headers: list[bytes]) -> list[bytes]:
    """The central folder with something left out, twice there or somewhere else."""
    which = chance.randrange(len(headers))
    other = chance.choice(headers)
    what = chance.randrange(4)
    if what == 0:
        del headers[which]
    elif what == 1:
        headers.insert(which, other)
    elif what == 2:
        headers.reverse()
    else:  # it points where another one does
        headers[which] = headers[which][:42] + other[42:46] + headers[which][46:]
    return headers


def _member(chance: random.Random) -> Part:
    name = chance.choice(_NAMES).encode("utf-8", "surrogatepass")
    flags = 0 if name.isascii() and chance.random() < 0.9 else zip_file.UTF8
    content = chance.choice((b"", b"x", bytes(99), bytes(5_000), b"#!python\n"))
    method = chance.choice((zip_file.STORED, zip_file.DEFLATED))
    mode = chance.choice((None, None, None, *_MODES))
    return Part(name, content, method, flags, mode)


def _metadata(chance: random.Random) -> dict[str, bytes]:
    """Files of metadata that were edited; their hashes are right."""
    name = chance.choice(("METADATA", "WHEEL", "entry_points.txt"))
    old = {"METADATA": zip_file.METADATA, "WHEEL": zip_file.WHEEL}.get(name, POINTS)
    lines = old.splitlines()
    while True:
        where = chance.randrange(len(lines) + 1)
        what = chance.randrange(4)
        if what == 0:
            lines.insert(where, chance.choice(_LINES))
        elif what == 1:
            lines.insert(where, chance.choice(lines))
        elif what == 2 and len(lines) > 1:
            del lines[where % len(lines)]
        else:
            lines[where % len(lines)] += chance.choice(_WORDS)
        if chance.random() < 0.7:
            return {name: b"\n".join(lines) + chance.choice((b"\n", b""))}


def _edited(chance: random.Random, rows: Rows) -> Rows:
    """RECORD with a row that is wrong."""
    rows = list(rows)
    where = chance.randrange(len(rows))
    name, value, size = rows[where]
    what = chance.randrange(6)
    if what == 0:
        del rows[where]
    elif what == 1:
        rows.append((chance.choice(_NAMES).replace("\ud800", "x"), value, size))
    elif what == 2:
        rows[where] = (name, hash_and_size(b"other")[0], size)
    elif what == 3:
        rows[where] = (name, chance.choice(("", "md5=x", "sha512=x", value[:-1])), size)
    elif what == 4:
        rows[where] = (name, value, chance.choice(("", "7", "x", "-1", "9" * 5_000)))
    else:
        rows.append(chance.choice(rows))
    return rows


def _field(chance: random.Random, part: Part) -> Part:
    """Another figure in one of its headers, or the same one in both."""
    key = chance.choice(("flags", "method", "crc", "packed", "size", "needed"))
    numbers = _FLAGS if key == "flags" else _NUMBERS
    if key in ("crc", "packed", "size"):
        numbers = (*numbers, *_LARGE)
    says = {key: chance.choice(numbers)}
    where = chance.randrange(3)
    return part.but(
        local={**part.local, **says} if where != 1 else part.local,
        central={**part.central, **says} if where != 0 else part.central,
    )


def _extra(chance: random.Random, part: Part) -> Part:
    size, packed = len(part.content), len(part.packed())
    fields = (
        zip_file.wide(size, packed),
        zip_file.wide(size),
        zip_file.extra(0x7075, b"\1\0\0\0\0" + chance.choice((part.raw, b"x"))),
        zip_file.extra(chance.choice((1, 0x5455, 0xFFFF)), bytes(chance.randrange(20))),
        bytes(chance.randrange(7)),
    )
    says: dict[str, Any] = {
        "extra": b"".join(chance.sample(fields, chance.choice((1, 2))))
    }
    if chance.random() < 0.5:
        says |= {"size": zip_file.FULL}
    if chance.random() < 0.5:
        says |= {"packed": zip_file.FULL}
    side = chance.choice(("local", "central"))
    return part.but(**{side: {**getattr(part, side), **says}})


def _streamed(chance: random.Random, part: Part) -> Part:
    layout = chance.choice(("<LLL", "<LLL", "<LQQ"))
    return streamed(part, signed=chance.random() < 0.5, layout=layout)


def _data(chance: random.Random, part: Part) -> Part:
    """Other data; what the headers say of their sizes is right, or not."""
    data = bytearray(part.packed())
    for _ in range(chance.choice((1, 1, 2, 8))):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    data += chance.choice((b"", b"", b"x", b"\3\0"))
    return part.but(data=bytes(data[chance.choice((0, 0, 1)) :]))


def _moded(chance: random.Random, part: Part) -> Part:
    return part.but(mode=chance.choice(_MODES))


def _renamed(chance: random.Random, part: Part) -> Part:
    name = chance.choice(_NAMES).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        return part.but(**{chance.choice(("local", "central")): {"name": name}})
    return part.but(name=name, flags=0 if name.isascii() else zip_file.UTF8)


def _preceded(chance: random.Random, part: Part) -> Part:
    return part.but(before=chance.choice(_WORDS))


_ON_PARTS = (_field, _field, _extra, _streamed, _data, _moded, _renamed, _preceded)


def _flip(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(chance: random.Random, content: bytes) -> bytes:
    word, where = chance.choice(_WORDS), chance.randrange(len(content) + 1)
    return content[:where] + word + content[where + len(word) :]


def _insert(chance: random.Random, content: bytes) -> bytes:
    word, where = chance.choice(_WORDS), chance.randrange(len(content) + 1)
    return content[:where] + word + content[where:]


def _cut(chance: random.Random, content: bytes) -> bytes:
    begin = chance.randrange(len(content) + 1)
    return content[:begin] + content[begin + chance.choice((1, 4, 30, 500, 9_999)) :]


def _splice(chance: random.Random, content: bytes) -> bytes:
    """The beginning of one, the end of another."""
    other = archive(wheel_parts(_FILES))
    where = chance.randrange(len(content) + 1)
    return content[:where] + other[chance.randrange(len(other)) :]


_ON_BYTES = (_flip, _flip, _overwrite, _insert, _cut, _splice)


class _HangError(Exception):
    """An input took too long."""


class _Watch:
    """Notes what the interpreter is about to change outside of a folder (:pep:`578`)."""

    _changes = frozenset(
        {
            *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.mkfifo", "os.mknod"),
            *("os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"),
            *("os.utime", "os.system", "subprocess.Popen", "socket.connect"),
        }
    )

    def __init__(self, folder: Path) -> None:
        self._inside = f"{folder}{os.sep}"
        self._watching = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in self._changes:
            path = arguments[0]
        else:
            return
        if isinstance(path, int):
            return
        whole = os.path.abspath(os.fsdecode(path)) + os.sep
        if not whole.startswith(self._inside):
            self.seen.append(f"{event} of {path!r}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._watching = True
        try:
            yield
        finally:
            self._watching = False


@dataclass
class Outcome:
    """What became of some inputs."""

    tried: int = 0
    accepted: int = 0
    rules: Counter[WheelRule] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Of processor time, in seconds."""
    growth: float = 0.0
    """Of memory, in MiB."""

    def add(self, other: Outcome) -> None:
        self.tried += other.tried
        self.accepted += other.accepted
        self.rules += other.rules
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.growth = max(self.growth, other.growth)


class _Reader:
    """Reads and unpacks inputs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._unpacked = folder / "unpacked"
        self._watch = _Watch(self._unpacked)
        self.outcome = Outcome()
        signal.signal(signal.SIGALRM, self._hang)

    @staticmethod
    def _hang(*_: object) -> None:
        raise _HangError

    def try_one(self, content: bytes, name: str) -> None:
        """Notes in the ``outcome`` what was not held of an input."""
        self._path.write_bytes(content)
        self._watch.seen.clear()
        problem: str | None
        began = time.process_time()
        signal.alarm(HANG)
        try:
            problem = self._read()
        except _HangError:
            problem = f"hangs for {HANG} s"
        except Exception:  # noqa: BLE001  that is what is looked for
            problem = "another error than InvalidWheel:\n" + traceback.format_exc()
        finally:
            signal.alarm(0)
        taken = time.process_time() - began
        if problem is None and self._watch.seen:
            problem = f"outside of its folder: {', '.join(self._watch.seen)}"
        if problem is None and taken > SLOW:
            problem = f"takes {taken:.1f} s"
        if problem is not None:
            self.outcome.failures.append(f"{name}: {problem}")
        self.outcome.tried += 1
        self.outcome.slowest = max(self.outcome.slowest, taken)
        if self._unpacked.exists():
            shutil.rmtree(self._unpacked)

    def _read(self) -> str | None:
        try:
            with self._watch.watching():
                read = wheel.read(self._path, LIMITS)
                unpack.extract(read, self._unpacked)
        except InvalidWheel as error:
            self.outcome.rules[error.rule] += 1
            return None
        self.outcome.accepted += 1
        return _differs(read, self._unpacked)


def _differs(read: wheel.Wheel, unpacked: Path) -> str | None:
    """What the standard library makes of an accepted wheel, if that is something else."""
    expected: dict[str, bytes] = {}
    with zipfile.ZipFile(read.path) as other:
        names = [name for name in other.namelist() if not name.endswith("/")]
        if names != [member.name for member in read.members]:
            return f"it has other members than zipfile finds: {names}"
        for member in read.members:
            expected[f"{member.area.value}/{member.path}"] = other.read(member.name)
    found = {
        path.relative_to(unpacked).as_posix(): path.read_bytes()
        for path in unpacked.rglob("*")
        if path.is_file()
    }
    for name in ("INSTALLER", "RECORD", "RECORD.jws"):  # not unpacked
        expected.pop(f"dist-info/{name}", None)
    if found != expected:
        return f"it unpacks to something else: {sorted(found)}"
    return None


def _share(seed: int, first: int, step: int, inputs: int, until: float | None) -> Outcome:
    """What one process does: every ``step``-th number from ``first`` on."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder:
        reader = _Reader(Path(os.path.realpath(folder)))
        before = 0
        for number in range(first, inputs, step):
            if until is not None and time.monotonic() > until:
                break
            reader.try_one(make(seed, number), f"seed {seed}, input {number}")
            if reader.outcome.tried == _WARM:
                before = _memory()
        outcome = reader.outcome
    if before:
        outcome.growth = (_memory() - before) / 1024
        if outcome.growth > GROWTH:
            outcome.failures.append(
                f"seed {seed}, inputs {first}, {first + step}, ...: a process grew by"
                f" {outcome.growth:.0f} MiB"
            )
    return outcome


def _memory() -> int:
    """The most that this process had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fuzz(
    inputs: int = 1_000_000,
    seconds: float | None = None,
    seed: int = 1,
    processes: int | None = None,
) -> list[Figure]:
    """Try ``inputs``, or as many as there is time for in ``seconds``."""
    count = processes or os.cpu_count() or 1
    until = time.monotonic() + seconds if seconds is not None else None
    shares = [(seed, first, count, inputs, until) for first in range(count)]
    total = Outcome()
    # new ones: what watches a process stays in it
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        for outcome in pool.starmap(_share, shares, chunksize=1):
            total.add(outcome)
    for failure in total.failures[:20]:
        print(
            f"{failure}\nagain: python -m endurance.fuzz --seed SEED --only INPUT",
            file=sys.stderr,
        )
    note = (
        f"{total.accepted:,} were wheels, {len(total.rules)} rules broken,"
        f" slowest {1000 * total.slowest:.0f} ms, memory +{total.growth:.0f} MiB"
    )
    what = "damaged and deceptive wheels, read and unpacked"
    return [Figure("wheels", what, total.tried, len(total.failures), note)]


def _again(seed: int, number: int) -> None:
    """Show one input, and what becomes of it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder, FILE_NAME)
        path.write_bytes(make(seed, number))
        with path.open("rb") as file:
            for line in iter(lambda: file.read(32), b""):
                print(line.hex(" ", 4), "", line.decode("ascii", "replace").__repr__())
        read = wheel.read(path, LIMITS)
        unpack.extract(read, Path(folder, "unpacked"))
        print(_differs(read, Path(folder, "unpacked")) or "accepted")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if something was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--only", type=int, metavar="INPUT")
    asked = parser.parse_args(arguments)
    if asked.only is not None:
        _again(asked.seed, asked.only)
        return 0
    figures = fuzz(asked.inputs, asked.seconds, asked.seed, asked.processes)
    for each in figures:
        print(f"{each.what}: {each.tried:,} tried, {each.failed:,} not held; {each.note}")
    return int(any(each.failed for each in figures))


if __name__ == "__main__":
    sys.exit(main())
