"""Binaries: what the extension modules, libraries and programs of a wheel ask for.

A binary can name folders that it wants its libraries from, relative to its own:
``$ORIGIN/../../nvjitlink/lib``. The system's loader takes the path that the binary was
opened by for that, and every ``..`` in it leaves the folder that is really there, not
the link to it. So a library of another wheel is found from a real folder of links, and
not through a link to a folder of a store. :func:`look_outside` says which folders of a
wheel that matters for.

Formats: ELF (System V ABI, chapters 4 and 5, and ``ld.so(8)``), Mach-O
(``<mach-o/loader.h>``, ``<mach-o/fat.h>`` and ``dyld(1)``), PE (Microsoft, "PE Format").
Nothing that a file says is trusted: what makes no sense is not a binary. Mach-O and PE
are read as they are written down; on macOS and Windows nothing of this was tried.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_MAY_BE_BINARY = re.compile(
    r"(^|/)[^/.]+$|\.\d+$|\.(so|dylib|dll|pyd|exe)\b", re.IGNORECASE
)
"""Names of files that are worth opening: ``x.abi3.so``, ``libx.so.1.2``, ``QtCore`` in a
framework, ``protoc-3.13.0``; not those of thousands of ``.py`` and ``.h`` files."""

_ORIGINS = ("$ORIGIN", "${ORIGIN}", "@loader_path")
"""What stands for the folder of the binary itself, at the beginning of a path."""

_QT = re.compile(r"(lib)?Qt\d?[A-Z]")
"""Names of Qt's libraries."""

_MOST = 1 << 14
"""Of whatever a binary has a table of. Real ones have some hundreds."""
_LONGEST = 1 << 13
"""Of a string in a binary, in bytes."""

_SYSTEM = re.compile(
    r"""
    lib(GL|ICE|SM|X11|Xext|Xrender|anl|atomic|c|crypt|dl|expat|gcc_s|glib-2\.0
        |gobject-2\.0|gthread-2\.0|m|mvec|ncursesw|nsl|panelw|pthread|resolv|rt
        |stdc\+\+|util|z)\.so(\.\d+)?
    |ld-(linux|musl)[-.].+ |ld64\.so\.\d+ |libc\.musl-.+ |linux-(gate|vdso)\.so\.1
    |libpython\d.*
    |(advapi32|avicap32|bcrypt|bcryptprimitives|cfgmgr32|comctl32|comdlg32|crypt32|d2d1
        |d3d11|d3d12|d3d9|d3dcompiler_47|dbghelp|dnsapi|dsound|dwmapi|dwrite|dxgi|dxva2
        |gdi32|gdiplus|hid|imm32|iphlpapi|kernel32|kernelbase|mf|mfplat|mfreadwrite|mpr
        |mscoree|msvcrt|ncrypt|netapi32|ntdll|ole32|oleacc|oleaut32|opengl32|pdh
        |powrprof|propsys|psapi|rpcrt4|secur32|setupapi|shcore|shell32|shlwapi|ucrtbase
        |user32|userenv|usp10|uxtheme|vcruntime140(_1)?|version|winhttp|wininet|winmm
        |wintrust|wldap32|ws2_32|wsock32|wtsapi32)\.dll
    |(api|ext)-ms-.+\.dll |python\d+t?(_d)?\.dll |winspool\.drv
    """,
    re.VERBOSE,
)
"""Libraries that every system has, as far as wheels are concerned.

On Linux those that a manylinux or musllinux wheel may need without bringing them
(:pep:`513`, :pep:`571`, :pep:`599`; :pep:`600` and :pep:`656` leave the list to the
policies of auditwheel), the loader, what the kernel provides, and Python. On Windows what
comes with it or with Python, as far as it is commonly asked for, in lower case. What
macOS has is asked for by absolute paths.
"""


@dataclass(frozen=True)
class Binary:
    """What one binary asks for, as it is written there."""

    needed: tuple[str, ...]
    """Libraries: names (ELF, PE; those of PE in lower case) or paths (Mach-O)."""
    search: tuple[str, ...]
    """Where they are looked for first: DT_RPATH, DT_RUNPATH, LC_RPATH."""
    name: str | None
    """What others need it by: DT_SONAME, LC_ID_DYLIB, the name in PE's export table."""
    program: bool = False
    """Whether it is one that is run, not loaded. PE programs search no folders and are
    not told apart."""


@dataclass(frozen=True)
class Outside:
    """What the binaries of a wheel want from outside of the wheel."""

    folders: tuple[str, ...] = ()
    """The folders of the tree that they look from; must be real folders in a view."""
    beside: tuple[str, ...] = ()
    """The folders of site-packages, below it, that they search for what the wheel has
    not: those that it has no file in, and for libraries that it lacks its own, too."""
    above: tuple[str, ...] = ()
    """The search paths, as they are written, that no link can serve, of those who lack a
    library: out of site-packages, or from where a link leads. A wheel with such ones must
    be installed as real files."""
    wanted: tuple[str, ...] = ()
    """The libraries that neither the wheel nor the system has."""


def read(path: Path) -> Binary | None:
    """What the binary ``path`` asks for, or None if it is none, or a damaged one.

    Whatever the file's size, little of it is read.

    :raises OSError: the file cannot be read
    """
    with open(path, "rb") as file:
        data = _Data(file)
        try:
            magic = data.take(0, 4)
            reader = _READERS.get(magic) or _READERS.get(magic[:2])
            return reader(data) if reader else None
        except _Damaged:
            return None


def look_outside(tree: Path, paths: Iterable[str]) -> Outside:
    """What the binaries among the files ``paths`` of ``tree`` want from elsewhere.

    ``paths`` are relative to ``tree``, which stands for site-packages, with ``/``.

    :raises OSError: a file cannot be read
    """
    held: set[str] = set()
    found: dict[str, Binary] = {}
    for path in paths:
        held.add(posixpath.dirname(path) or ".")
        if _MAY_BE_BINARY.search(path) and (binary := read(tree / path)) is not None:
            found[path] = binary
    own = set(_names(found))
    asking = [_asks(path, binary, own) for path, binary in found.items()]
    lacking = _spread(asking, [each for each in asking if each.wanted])
    # Some load libraries only when they run (cuDNN), so whoever searches a folder
    # outside may find one there, though all that it needs is in the wheel.
    looking = _spread(asking, [e for e in asking if e.wanted or e.places - held])
    beside = {
        place
        for each in asking
        for place in (each.places if each.wanted else each.places - held)
        if place != "." and not _is_above(place)
    }
    return Outside(
        folders=tuple(sorted(looking - {"."})),
        beside=tuple(sorted(beside)),
        above=tuple(sorted({path for e in asking for path in _above(e, lacking)})),
        wanted=tuple(sorted({name for each in asking for name in each.wanted})),
    )


@dataclass(frozen=True)
class _Asking:
    """A binary of a wheel, and what of its questions the wheel does not answer."""

    folder: str
    """It lies in, relative to site-packages, which is ``.``."""
    wanted: frozenset[str]
    searched: tuple[tuple[str, str], ...]
    """Folders, each relative to site-packages and as it is written."""
    resolved: bool
    """Whether it looks from where a link to it leads, not from the link.

    Programs do: the kernel says so in ``/proc/self/exe`` (``ld.so(8)``). And what belongs
    to Qt, because that opens its plugins by their resolved paths (``QPluginLoader``).
    """

    @property
    def places(self) -> frozenset[str]:
        """The folders that it searches, relative to site-packages."""
        return frozenset(place for place, _ in self.searched)


def _asks(path: str, binary: Binary, own: set[str]) -> _Asking:
    folder = posixpath.dirname(path)
    # what is needed by a path says where it has to be
    places = (*binary.search, *map(posixpath.dirname, binary.needed))
    wanted = frozenset(
        posixpath.basename(name)
        for name in binary.needed
        if not name.startswith("/") and not _is_there(posixpath.basename(name), own)
    )
    return _Asking(
        folder or ".",
        wanted,
        tuple(
            (posixpath.normpath(posixpath.join(folder, relative)), place)
            for place in places
            if (relative := _relative(place)) is not None
        ),
        binary.program or any(_QT.match(name) for name in wanted),
    )


def _names(found: Mapping[str, Binary]) -> Iterator[str]:
    """What the wheel's binaries can be needed by."""
    for path, binary in found.items():
        file = posixpath.basename(path)
        yield from (file, file.lower())  # Windows does not look at case
        if binary.name is not None:
            yield posixpath.basename(binary.name)


def _is_there(name: str, own: set[str]) -> bool:
    return name in own or _SYSTEM.fullmatch(name) is not None


def _relative(place: str) -> str | None:
    """The part of a path after the binary's own folder, or None if it has another."""
    for origin in _ORIGINS:
        if place == origin or place.startswith(f"{origin}/"):
            return place[len(origin) :].lstrip("/")
    return None


def _is_above(place: str) -> bool:
    return place == ".." or place.startswith("../")


def _spread(asking: Iterable[_Asking], first: Iterable[_Asking]) -> set[str]:
    """The folders of ``first``, and of whoever searches one of these folders.

    The path of a library begins with that of the one who loads it. All of a folder
    counts, and one who lacks a library counts wherever it searches: in a folder of the
    wheel there may be files of others, too, and the DT_RPATH of whoever loads a library
    is searched for what that one needs.
    """
    more = {each.folder for each in first}
    found: set[str] = set()
    while more:
        found |= more
        more = {each.folder for each in asking if each.places & found} - found
    return found


def _above(binary: _Asking, lacking: set[str]) -> Iterator[str]:
    """The search paths of a binary that no link can serve.

    ``lacking``: the folders of those who lack a library. Who lacks none has such paths,
    too, of the folders that it was built in (tensorflow).
    """
    lacks = bool(binary.wanted or binary.places & lacking)
    for place, written in binary.searched:
        if (binary.resolved and lacks) or (binary.wanted and _is_above(place)):
            yield written


class _Damaged(Exception):
    """What a file says of itself makes no sense."""


class _Data:
    """The bytes of a file, from ``start`` on."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        self._start = start
        self._size = os.fstat(file.fileno()).st_size - start

    def part(self, start: int) -> _Data:
        return _Data(self._file, self._start + start)

    def take(self, offset: int, size: int) -> bytes:
        """:raises _Damaged: there are not so many"""
        if not 0 <= offset <= self._size - size:
            raise _Damaged
        self._file.seek(self._start + offset)
        found = self._file.read(size)
        if len(found) != size:
            raise _Damaged
        return found

    def unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        """:raises _Damaged: it is not there"""
        return struct.unpack(layout, self.take(offset, struct.calcsize(layout)))

    def string(self, offset: int) -> str:
        """:raises _Damaged: it is not there, or does not end"""
        size = max(0, min(self._size - offset, _LONGEST))
        found, end, _ = self.take(offset, size).partition(b"\0")
        if not end:
            raise _Damaged
        return found.decode("utf-8", "surrogateescape")


class _Elf(NamedTuple):
    """Where things are, and of which kind, in the two widths of ELF."""

    table: str
    """Offset of the program header table."""
    table_at: int
    shape_at: int
    """Size and number of program headers."""
    segment: str
    """Type, offset in the file, address, size in the file."""
    tag: str


_ELF = {
    1: _Elf("I", 28, 42, "III4xI", "iI"),
    2: _Elf("Q", 32, 54, "I4xQQ8xQ", "qQ"),
}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 14, 15, 29


def _read_elf(data: _Data) -> Binary:
    width, order = data.unpack("BB", 4)
    if width not in _ELF or order not in (1, 2):
        raise _Damaged
    layout, end = _ELF[width], "<>"[order - 1]
    (table,) = data.unpack(end + layout.table, layout.table_at)
    size, count = data.unpack(f"{end}HH", layout.shape_at)
    segments = [
        data.unpack(end + layout.segment, table + number * size)
        for number in range(min(count, _MOST))
    ]
    dynamic = [(at, length) for kind, at, _, length in segments if kind == _PT_DYNAMIC]
    tags = list(_elf_tags(data, end + layout.tag, *dynamic[0])) if dynamic else []
    strings = _elf_strings(tags, segments) if tags else 0

    def named(*kinds: int) -> list[str]:
        return [data.string(strings + value) for kind, value in tags if kind in kinds]

    paths = named(_DT_RPATH, _DT_RUNPATH)
    name = next(iter(named(_DT_SONAME)), None)
    return Binary(
        tuple(named(_DT_NEEDED)),
        tuple(each for path in paths for each in path.split(":") if each),
        name,
        # some libraries say what they are when they are run
        program=name is None and any(kind == _PT_INTERP for kind, *_ in segments),
    )


def _elf_tags(
    data: _Data, layout: str, offset: int, length: int
) -> Iterator[tuple[int, int]]:
    size = struct.calcsize(layout)
    for number in range(min(length // size, _MOST)):
        kind, value = data.unpack(layout, offset + number * size)
        if kind == _DT_NULL:
            return
        yield kind, value


def _elf_strings(
    tags: Iterable[tuple[int, int]], segments: Iterable[tuple[Any, ...]]
) -> int:
    """Where in the file the strings are; a tag has their address in memory."""
    for kind, place in tags:
        if kind == _DT_STRTAB:
            for type_, offset, address, length in segments:
                if type_ == _PT_LOAD and address <= place < address + length:
                    return int(place - address + offset)
    raise _Damaged


_MACH_O = {
    b"\xfe\xed\xfa\xce": (">", 28),
    b"\xce\xfa\xed\xfe": ("<", 28),
    b"\xfe\xed\xfa\xcf": (">", 32),
    b"\xcf\xfa\xed\xfe": ("<", 32),
}
"""Byte order and size of the header, by the first bytes."""
_MACH_O_FAT = {b"\xca\xfe\xba\xbe": ">8xI8x", b"\xca\xfe\xba\xbf": ">8xQ16x"}
"""Where the file for one architecture begins."""
_MOST_ARCHITECTURES = 20
"""Java's classes begin with the same bytes as fat files; then follows their version,
which is 45 or more."""
_MH_EXECUTE = 2
_LC_ID_DYLIB, _LC_RPATH = 0x0D, 0x8000001C
_LC_LOADING = frozenset({0x0C, 0x20, 0x80000018, 0x8000001F, 0x80000023})
"""LC_LOAD_DYLIB and its kinds: lazy, weak, re-exported, upward."""


def _read_mach_o(data: _Data) -> Binary:
    magic = data.take(0, 4)
    if magic not in _MACH_O:
        raise _Damaged  # a part of a fat file may be an archive of objects
    end, header = _MACH_O[magic]
    kind, count = data.unpack(f"{end}II", 12)
    needed: list[str] = []
    search: list[str] = []
    name = None
    offset = header
    for _ in range(min(count, _MOST)):
        command, size, place = data.unpack(f"{end}III", offset)
        if command in _LC_LOADING:
            needed.append(data.string(offset + place))
        elif command == _LC_RPATH:
            search.append(data.string(offset + place))
        elif command == _LC_ID_DYLIB:
            name = data.string(offset + place)
        offset += size
    return Binary(tuple(needed), tuple(search), name, kind == _MH_EXECUTE)


def _read_fat(data: _Data) -> Binary:
    """All that the files for the architectures ask for."""
    layout = _MACH_O_FAT[data.take(0, 4)]
    (count,) = data.unpack(">I", 4)
    if count > _MOST_ARCHITECTURES:
        raise _Damaged
    parts = [
        _read_mach_o(
            data.part(*data.unpack(layout, 8 + number * struct.calcsize(layout)))
        )
        for number in range(count)
    ]
    return Binary(
        tuple(dict.fromkeys(name for part in parts for name in part.needed)),
        tuple(dict.fromkeys(place for part in parts for place in part.search)),
        next((part.name for part in parts if part.name is not None), None),
        any(part.program for part in parts),
    )


_PE_DIRECTORIES = {0x10B: 96, 0x20B: 112}
"""Where in the optional header they begin: PE32, PE32+."""
_PE_MOST_SECTIONS = 96
"""That Windows loads."""


def _read_pe(data: _Data) -> Binary:
    (header,) = data.unpack("<I", 0x3C)
    sections, size = data.unpack("<H12xH", header + 6)
    optional = header + 24
    (magic,) = data.unpack("<H", optional)
    if data.take(header, 4) != b"PE\0\0" or magic not in _PE_DIRECTORIES:
        raise _Damaged
    directories = optional + _PE_DIRECTORIES[magic]
    (count,) = data.unpack("<I", directories - 4)
    found = _Pe(
        data,
        tables=[
            data.unpack("<I", directories + number * 8)[0]
            for number in range(min(count, _PE_DELAYED + 1))
        ],
        sections=[
            data.unpack("<III", optional + size + number * 40 + 12)
            for number in range(min(sections, _PE_MOST_SECTIONS))
        ],
    )
    imports = found.names(_PE_IMPORTS, "<12xI4x"), found.names(_PE_DELAYED, "<4xI24x")
    name = next(found.names(_PE_EXPORTS, "<12xI24x"), None)
    return Binary(tuple(itertools.chain(*imports)), (), name)


_PE_EXPORTS, _PE_IMPORTS, _PE_DELAYED = 0, 1, 13
"""Which of the tables is which."""


class _Pe(NamedTuple):
    """What it takes to follow addresses in a PE file."""

    data: _Data
    tables: list[int]
    """Their addresses; zero for none."""
    sections: list[tuple[Any, ...]]
    """Address, size in the file, offset in the file."""

    def names(self, table: int, row: str) -> Iterator[str]:
        """The names of libraries that the rows of a table say the addresses of."""
        if table < len(self.tables) and self.tables[table]:
            start, size = self._offset(self.tables[table]), struct.calcsize(row)
            for number in range(_MOST):
                (name,) = self.data.unpack(row, start + number * size)
                if not name:
                    return
                yield self.data.string(self._offset(name)).lower()

    def _offset(self, place: int) -> int:
        for address, length, offset in self.sections:
            if address <= place < address + length:
                return int(place - address + offset)
        raise _Damaged


_READERS: dict[bytes, Callable[[_Data], Binary]] = {
    b"\x7fELF": _read_elf,
    b"MZ": _read_pe,
    **dict.fromkeys(_MACH_O, _read_mach_o),
    **dict.fromkeys(_MACH_O_FAT, _read_fat),
}
"""By the first bytes of a file."""
