"""What the binaries of a wheel want from outside of the wheel, and where they look."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from commonwheel.binaries import formats
from commonwheel.binaries.binary import Binary

_MAY_BE_BINARY = re.compile(
    r"(^|/)[^/.]+$|\.\d+$|\.(so|dylib|dll|pyd|exe)\b", re.IGNORECASE
)
"""Names of files that are worth opening: ``x.abi3.so``, ``libx.so.1.2``, ``QtCore`` in a
framework, ``protoc-3.13.0``; not those of thousands of ``.py`` and ``.h`` files."""

_ORIGINS = ("$ORIGIN", "${ORIGIN}", "@loader_path")
"""What stands for the folder of the binary itself, at the beginning of a path."""

_QT = re.compile(r"(lib)?Qt\d?[A-Z]")
"""Names of Qt's libraries."""

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


def look_outside(tree: Path, paths: Iterable[str]) -> Outside:
    """What the binaries among the files ``paths`` of ``tree`` want from elsewhere.

    ``paths`` are relative to ``tree``, which stands for site-packages, with ``/``.

    :raises OSError: a file cannot be read
    """
    held: set[str] = set()
    found: dict[str, Binary] = {}
    for path in paths:
        held.add(posixpath.dirname(path) or ".")
        if (
            _MAY_BE_BINARY.search(path)
            and (binary := formats.read(tree / path)) is not None
        ):
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
    searching: dict[str, set[str]] = defaultdict(set)
    for each in asking:
        for place in each.places:
            searching[place].add(each.folder)
    more = {each.folder for each in first}
    found: set[str] = set()
    while more:
        found |= more
        more = {folder for place in more for folder in searching.get(place, ())} - found
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
