"""Files that are no wheels, or traps: what each is, and the rule that it breaks.

Needs nothing but the standard library and the code under test, so that every Python can
be asked about the same bytes. In comments: families of advisories on other installers.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from commonwheel.wheel_rules import WheelRule as Rule
from wheel_file import Rows, hash_and_size
from zip_file import (
    FILES,
    FOLDER,
    FULL,
    INFO,
    METADATA,
    STORED,
    UTF8,
    WHEEL,
    Part,
    archive,
    central_header,
    deflate,
    descriptor,
    end64,
    end_record,
    extra,
    local_header,
    streamed,
    wheel_parts,
    wide,
)

FILE_NAME = "sample-1.0-py3-none-any.whl"
INIT = "p/__init__.py"
DATA = "sample-1.0.data"
HASH, SIZE = hash_and_size(FILES[INIT])


class Hostile(NamedTuple):
    """One file."""

    what: str
    rule: Rule
    make: Callable[[], bytes]
    file_name: str = FILE_NAME


def wheel(files: Mapping[str, bytes] | None = None, **kwargs: Any) -> bytes:
    return archive(wheel_parts({**FILES, **(files or {})}, **kwargs))


def _zip(**kwargs: Any) -> bytes:
    return archive(wheel_parts(), **kwargs)


def _first(**changes: Any) -> bytes:
    """A wheel with something wrong about its first member."""
    first, *others = wheel_parts()
    return archive([first.but(**changes), *others])


def _with(*parts: Part) -> bytes:
    return archive(wheel_parts(extra=parts))


def _scripts(text: str, files: Mapping[str, bytes] | None = None) -> bytes:
    content = f"[console_scripts]\n{text}\n".encode()
    return wheel(files, metadata={"entry_points.txt": content})


def _record(edit: Callable[[Rows], Rows]) -> bytes:
    return wheel(edit_record=edit)


def _change(*columns: str) -> bytes:
    return _record(lambda rows: [(r[0], *columns) if r[0] == INIT else r for r in rows])  # type: ignore[misc]


def _add(*row: str) -> bytes:
    return _record(lambda rows: [*rows, row])  # type: ignore[list-item]


def _two_ends() -> bytes:
    """Two archives in one: a comment of the first one holds the second."""
    first = _zip()
    members = wheel_parts({"evil.py": b"evil"})
    members[0] = members[0].but(before=first)
    second = archive(members)[len(first) :]
    return first[:-2] + struct.pack("<H", len(second)) + second


def _shared_data() -> bytes:
    """Two members with the same bytes: a bomb that no ratio of one member shows."""
    parts = wheel_parts(extra=[Part("p/again.py", FILES[INIT])])
    return archive(parts, listed=lambda headers: _pointed(headers, 4, 0))


def _pointed(headers: list[bytes], which: int, offset: int) -> list[bytes]:
    header = headers[which]
    headers[which] = header[:42] + struct.pack("<L", offset) + header[46:]
    return headers


def _nested() -> bytes:
    """A member whose data is a whole member, which the central folder lists too."""
    inner = Part("p/inner.py", b"inner", STORED)
    content = local_header(inner) + inner.content
    parts = wheel_parts(extra=[Part("p/outer.bin", content, STORED), inner])
    begin = archive(parts).index(content)
    return archive(parts, listed=lambda headers: _pointed(headers, 5, begin))


def _many() -> bytes:
    """200,000 empty files."""
    header, size = local_header(Part("00000000", b"", STORED)), 38
    headers = central_header(Part("00000000", b"", STORED), 0)
    body, central = [], []
    for number in range(200_000):
        name = b"%08d" % number
        body.append(header[:30] + name)
        place = struct.pack("<L", number * size)
        central.append(headers[:42] + place + name)
    members, folder = b"".join(body), b"".join(central)
    end = end64(
        count=200_000,
        size=len(folder),
        begin=len(members),
        at=len(members) + len(folder),
    )
    full = end_record(count=0xFFFF, size=FULL, begin=FULL)
    return members + folder + end + full


def _noise(size: int) -> Part:
    """What does not get smaller when it is packed."""
    return Part("p/noise.bin", random.Random(size).randbytes(size), STORED)


def _claiming(name: str, size: int, number: int = 1) -> list[Part]:
    says = {"size": size}
    return [Part(name.format(i), local=says, central=says) for i in range(number)]


def _tar() -> bytes:
    """The first block of a tar archive."""
    return b"p/evil.py".ljust(257, b"\0") + b"ustar".ljust(255, b"\0")


def _streamed(**kwargs: Any) -> bytes:
    first, *others = wheel_parts()
    return archive([streamed(first, **kwargs), *others])


def _descriptor(**changes: Any) -> bytes:
    first, *others = wheel_parts()
    return archive([streamed(first).but(**changes), *others])


_PACKED = deflate(FILES[INIT])
_ARCHIVES = (
    Hostile("nothing", Rule.END_RECORD, lambda: b""),
    Hostile("something else", Rule.END_RECORD, lambda: b"<html>" * 10),
    Hostile("an archive that was cut off", Rule.END_RECORD, lambda: _zip()[:-1]),
    Hostile("bytes behind the end", Rule.END_RECORD, lambda: _zip() + b"\0"),
    # uv CVE-2025-54368 and GHSA-pqhf-p39g-3x64: readers differ in which archive they see
    Hostile("two archives", Rule.CENTRAL_FOLDER, lambda: wheel({"x.py": b""}) + _zip()),
    Hostile("an archive in the comment of another", Rule.END_RECORD, _two_ends),
    Hostile("a comment", Rule.END_RECORD, lambda: _zip(end={"comment": b"hello"})),
    Hostile(
        "a comment of a member",
        Rule.COMMENT,
        lambda: _first(central={"comment": b"hello"}),
    ),
    Hostile("the second disk of two", Rule.ONE_DISK, lambda: _zip(end={"disk": 1})),
    Hostile("members on other disks", Rule.ONE_DISK, lambda: _zip(end={"here": 1})),
    Hostile(
        "a member on another disk", Rule.ONE_DISK, lambda: _first(central={"disk": 1})
    ),
    # CVE-2025-8291 (CPython): a locator that leads somewhere else
    Hostile(
        "a zip64 locator that leads elsewhere",
        Rule.ZIP64,
        lambda: _zip(large={"at": 0}),
    ),
    Hostile("a zip64 end of another size", Rule.ZIP64, lambda: _zip(large={"length": 9})),
    Hostile("no zip64 end", Rule.ZIP64, lambda: _zip(large={"signature": b"PK\6\5"})),
    Hostile("no zip64 end where needed", Rule.ZIP64, lambda: _zip(end={"size": FULL})),
    Hostile(
        "a zip64 end that says something else",
        Rule.ZIP64,
        lambda: _zip(large={}, end={"count": 4}),
    ),
    Hostile(
        "a zip64 end of several disks", Rule.ONE_DISK, lambda: _zip(large={"disks": 2})
    ),
    *(
        Hostile(
            f"a zip64 end that nobody needs, with another {figure}",
            Rule.ZIP64,
            lambda figure=figure: _zip(large={figure: 4}, full=False),
        )
        for figure in ("count", "size", "begin", "at")
    ),
    Hostile(
        "a zip64 locator that nobody needs, alone",
        Rule.ZIP64,
        lambda: _zip(after_central=end64(count=5, size=1, begin=1, at=1)[56:]),
    ),
    Hostile(
        "a zip64 field that nobody needs",
        Rule.ZIP64,
        lambda: _first(central={"extra": wide(300)}),
    ),
    Hostile(
        "two zip64 figures for one",
        Rule.ZIP64,
        lambda: _first(central={"size": FULL, "extra": wide(300, 300)}),
    ),
    Hostile(
        "no zip64 field where needed", Rule.ZIP64, lambda: _first(central={"size": FULL})
    ),
    Hostile(
        "a zip64 field that says something else",
        Rule.ZIP64,
        lambda: _first(local={"extra": wide(7, 7)}),
    ),
    Hostile(
        "too few members counted", Rule.CENTRAL_FOLDER, lambda: _zip(end={"count": 4})
    ),
    Hostile(
        "too many members counted", Rule.CENTRAL_FOLDER, lambda: _zip(end={"count": 9})
    ),
    Hostile(
        "a central folder elsewhere", Rule.CENTRAL_FOLDER, lambda: _zip(end={"begin": 9})
    ),
    Hostile(
        "something between it and the end",
        Rule.CENTRAL_FOLDER,
        lambda: _zip(after_central=b"PK\5\5\0\0"),
    ),
    Hostile(
        "a central folder that is none",
        Rule.CENTRAL_FOLDER,
        lambda: _zip(listed=lambda headers: [b"PK\1\3" + headers[0][4:], *headers[1:]]),
    ),
    # pip CVE-2026-3219: one file that is a tar archive and a zip archive
    Hostile("a tar archive too", Rule.GAP, lambda: _first(before=_tar())),
    Hostile("a program that unpacks itself", Rule.GAP, lambda: _first(before=b"MZ\0\0")),
    Hostile(
        "a member that the central folder does not list",
        Rule.GAP,
        lambda: _zip(listed=lambda headers: headers[1:]),
    ),
    Hostile(
        "a gap before the central folder", Rule.GAP, lambda: _zip(before_central=b"\0")
    ),
    Hostile("two members with the same data", Rule.OVERLAP, _shared_data),
    Hostile("a member inside another", Rule.OVERLAP, _nested),
    Hostile(
        "a member larger than its place",
        Rule.OVERLAP,
        lambda: _first(central={"packed": 999}, local={"packed": 999}),
    ),
    Hostile(
        "a streamed member larger than its place",
        Rule.OVERLAP,
        lambda: _descriptor(central={"packed": 999}),
    ),
    Hostile(
        "a local header with another name",
        Rule.LOCAL_HEADER,
        lambda: _first(local={"name": b"p/__evil__.py"}),
    ),
    Hostile(
        "a local header with another CRC",
        Rule.LOCAL_HEADER,
        lambda: _first(local={"crc": 1}),
    ),
    Hostile(
        "a local header with another size",
        Rule.LOCAL_HEADER,
        lambda: _first(local={"size": 1}),
    ),
    Hostile(
        "a local header with another method",
        Rule.LOCAL_HEADER,
        lambda: _first(local={"method": STORED}),
    ),
    Hostile(
        "a local header with other flags",
        Rule.LOCAL_HEADER,
        lambda: _first(local={"flags": UTF8}),
    ),
    Hostile(
        "a header somewhere else",
        Rule.GAP,
        lambda: _zip(listed=lambda headers: _pointed(headers, 0, 4)),
    ),
    Hostile(
        "no local header",
        Rule.LOCAL_HEADER,
        lambda: _first(local={"signature": b"PK\3\5"}),
    ),
    Hostile(
        "an extra field twice",
        Rule.EXTRA_FIELD,
        lambda: _first(central={"extra": extra(0x5455, b"") * 2}),
    ),
    Hostile(
        "an extra field that is cut off",
        Rule.EXTRA_FIELD,
        lambda: _first(local={"extra": b"UT\x09\0\0"}),
    ),
    Hostile(
        "another name in an extra field",
        Rule.EXTRA_FIELD,
        lambda: _first(central={"extra": extra(0x7075, b"\1\0\0\0\0evil.py")}),
    ),
    Hostile(
        "a data descriptor that says something else",
        Rule.DATA_DESCRIPTOR,
        lambda: _descriptor(descriptor=descriptor(Part("x"))),
    ),
    Hostile(
        "no data descriptor", Rule.DATA_DESCRIPTOR, lambda: _descriptor(descriptor=b"")
    ),
    Hostile(
        "a data descriptor of 64 bits without saying so",
        Rule.DATA_DESCRIPTOR,
        lambda: _streamed(layout="<LQQ"),
    ),
    Hostile(
        "a stored member whose end nobody knows",
        Rule.LOCAL_HEADER,
        lambda: archive(
            [streamed(Part("x", b"x", STORED)), *wheel_parts()],
        ),
    ),
    Hostile("encryption", Rule.ENCRYPTION, lambda: _first(flags=0x0001)),
    Hostile("strong encryption", Rule.ENCRYPTION, lambda: _first(flags=0x0041)),
    Hostile("lzma", Rule.COMPRESSION, lambda: _first(method=14)),
    Hostile("deflate64", Rule.COMPRESSION, lambda: _first(method=9)),
    Hostile("patched data", Rule.COMPRESSION, lambda: _first(flags=0x0020)),
    Hostile("a newer format", Rule.COMPRESSION, lambda: _first(central={"needed": 63})),
    Hostile(
        "a stored member of two sizes",
        Rule.CONTENTS,
        lambda: _first(method=STORED, data=b"x"),
    ),
    Hostile("damaged data", Rule.CONTENTS, lambda: _first(data=b"\xff" * 9)),
    Hostile("data that ends too early", Rule.CONTENTS, lambda: _first(data=_PACKED[:-3])),
    Hostile("data behind the data", Rule.CONTENTS, lambda: _first(data=_PACKED + b"x")),
    Hostile(
        "more data than is said", Rule.CONTENTS, lambda: _first(data=deflate(b"x" * 301))
    ),
    Hostile(
        "less data than is said", Rule.CONTENTS, lambda: _first(data=deflate(b"x" * 299))
    ),
    Hostile(
        "damage in what is never unpacked",
        Rule.CONTENTS,
        lambda: _with(Part(f"{INFO}/INSTALLER", b"x", STORED, data=b"y")),
    ),
    Hostile("a wrong CRC", Rule.CONTENTS, lambda: _first(data=deflate(b"x" * 300))),
    Hostile(
        "a folder with contents",
        Rule.CONTENTS,
        lambda: _with(Part("p/sub/", b"hidden")),
    ),
    Hostile(
        "a folder with data that unpacks to nothing",
        Rule.CONTENTS,
        lambda: _with(Part("p/sub/", data=b"\3\0hidden")),
    ),
)

_NAMES = (
    # pip CVE-2026-1703: a folder that begins with the target's name is not below it
    Hostile("beside the target", Rule.UNSAFE_NAME, lambda: wheel({"../tree-evil": b""})),
    # wheel CVE-2026-24049, GHSA-8rrh-rw8j-w5fx: modes of files elsewhere are changed
    Hostile("out of the archive", Rule.UNSAFE_NAME, lambda: wheel({"p/../../x": b""})),
    Hostile("a path that goes back", Rule.UNSAFE_NAME, lambda: wheel({"p/../x": b""})),
    Hostile("this folder", Rule.UNSAFE_NAME, lambda: wheel({"./x": b""})),
    Hostile("an empty part", Rule.UNSAFE_NAME, lambda: wheel({"p//x": b""})),
    Hostile("no name", Rule.UNSAFE_NAME, lambda: wheel({"": b""})),
    Hostile("a folder without a name", Rule.UNSAFE_NAME, lambda: _with(Part("/"))),
    Hostile("an absolute path", Rule.UNSAFE_NAME, lambda: wheel({"/etc/x": b""})),
    Hostile("a backslash", Rule.UNSAFE_NAME, lambda: wheel({"p\\..\\..\\x": b""})),
    Hostile("a drive", Rule.UNSAFE_NAME, lambda: wheel({"c:/x": b""})),
    Hostile("a drive of its own", Rule.UNSAFE_NAME, lambda: wheel({"c:x": b""})),
    Hostile(
        "out of scripts",
        Rule.UNSAFE_NAME,
        lambda: wheel({f"{DATA}/scripts/../../../x": b""}),
    ),
    Hostile(
        "an absolute path below data",
        Rule.UNSAFE_NAME,
        lambda: wheel({f"{DATA}/data//etc/x": b""}),
    ),
    Hostile("a line break", Rule.CONTROL_CHARACTER, lambda: wheel({"p/a\nb": b""})),
    Hostile("NUL", Rule.CONTROL_CHARACTER, lambda: wheel({"p/a.py\0.txt": b""})),
    Hostile("a C1 character", Rule.CONTROL_CHARACTER, lambda: wheel({"p/\x9b31m": b""})),
    Hostile("U+2028", Rule.CONTROL_CHARACTER, lambda: wheel({"p/a\u2028b": b""})),
    *(
        Hostile(
            f"the name {name}", Rule.PORTABLE_NAME, lambda name=name: wheel({name: b""})
        )
        for name in (
            *("aux.py", "p/NUL", "p/com1.txt", "p/COM¹", "p/con .x", "conin$/x"),
            *("p/a:b", "p/a.", "p/a ", "p./a", "p/a*", "p/a?", 'p/a"b', "p/a|b", "p/<a>"),
            "p/" + 128 * "é",
        )
    ),
    Hostile(
        "a name in another encoding",
        Rule.NAME_ENCODING,
        lambda: _with(Part("p/é.py".encode("cp437"))),
    ),
    Hostile(
        "UTF-8 that does not say so",
        Rule.NAME_ENCODING,
        lambda: _with(Part("p/é.py".encode())),
    ),
    Hostile(
        "UTF-8 that is none",
        Rule.NAME_ENCODING,
        lambda: _with(Part(b"p/\xff.py", flags=UTF8)),
    ),
    Hostile(
        "an overlong slash",
        Rule.NAME_ENCODING,
        lambda: _with(Part(b"..\xc0\xafx", flags=UTF8)),
    ),
    Hostile("a file twice", Rule.DUPLICATE, lambda: _with(Part(INIT, FILES[INIT]))),
    Hostile("a folder twice", Rule.DUPLICATE, lambda: _with(Part("p/"), Part("p/"))),
    Hostile(
        "one place, reached in two ways",
        Rule.DUPLICATE,
        lambda: wheel({f"{DATA}/purelib/p/data.bin": b""}),
    ),
    Hostile("another case", Rule.COLLISION, lambda: wheel({"p/__INIT__.py": b""})),
    Hostile("a folder in another case", Rule.COLLISION, lambda: wheel({"P/y": b""})),
    Hostile(
        "a folder and a file in another case", Rule.COLLISION, lambda: wheel({"P": b""})
    ),
    Hostile(
        "another case in another folder",
        Rule.COLLISION,
        lambda: wheel({f"{DATA}/platlib/P/y": b""}),
    ),
    Hostile(
        "another Unicode form",
        Rule.COLLISION,
        lambda: wheel({"p/\u00e9.py": b"", "p/e\u0301.py": b""}),
    ),
    Hostile(
        "a case of more than one letter",
        Rule.COLLISION,
        lambda: wheel({"p/\u00df.py": b"", "p/SS.py": b""}),
    ),
    Hostile("a file where a folder is", Rule.FILE_AND_FOLDER, lambda: wheel({"p": b""})),
    Hostile(
        "a folder where a file is", Rule.FILE_AND_FOLDER, lambda: _with(Part(f"{INIT}/"))
    ),
    Hostile(
        "a file where a folder will be",
        Rule.FILE_AND_FOLDER,
        lambda: wheel({f"{DATA}/purelib/p": b""}),
    ),
    Hostile(
        "a link",
        Rule.SPECIAL_FILE,
        lambda: _with(Part("p/link", b"/etc", STORED, mode=0o120777)),
    ),
    # as in uv CVE-2025-54368's kin: a link first, then a file behind it
    Hostile(
        "a link that is a folder",
        Rule.SPECIAL_FILE,
        lambda: _with(Part("q/", mode=0o120777), Part("q/x")),
    ),
    Hostile("a FIFO", Rule.SPECIAL_FILE, lambda: _with(Part("p/f", mode=0o010644))),
    Hostile("a device", Rule.SPECIAL_FILE, lambda: _with(Part("p/d", mode=0o020644))),
    Hostile(
        "a file that is a folder on one system",
        Rule.SPECIAL_FILE,
        lambda: _with(Part("p/d", msdos=0x10)),
    ),
    Hostile(
        "a file that says it is a folder",
        Rule.SPECIAL_FILE,
        lambda: _with(Part("p/d", mode=FOLDER)),
    ),
)

_WHEELS = (
    Hostile("no wheel's name", Rule.FILE_NAME, _zip, "sample.whl"),
    Hostile("a version that is none", Rule.FILE_NAME, _zip, "sample-x_-py3-none-any.whl"),
    Hostile(
        "a name that is another's", Rule.ANOTHERS_FOLDER, _zip, "o-1.0-py3-none-any.whl"
    ),
    Hostile("another version", Rule.ANOTHERS_FOLDER, _zip, "sample-2.0-py3-none-any.whl"),
    Hostile(
        "another distribution's metadata",
        Rule.DIST_INFO,
        lambda: wheel({"pip-99.dist-info/RECORD": b""}),
    ),
    Hostile(
        "another distribution's metadata below purelib",
        Rule.ANOTHERS_FOLDER,
        lambda: wheel({f"{DATA}/purelib/pip-99.dist-info/RECORD": b""}),
    ),
    Hostile(
        "its own metadata below purelib",
        Rule.ANOTHERS_FOLDER,
        lambda: wheel({f"{DATA}/purelib/{INFO}/direct_url.json": b""}),
    ),
    Hostile(
        "another distribution's data",
        Rule.ANOTHERS_FOLDER,
        lambda: wheel({"pip-99.data/purelib/pip/x.py": b""}),
    ),
    # importlib.metadata, and pip, find these at the top of a folder of modules; pip
    # uninstalls what they list
    *(
        Hostile(
            f"another distribution's {name}",
            Rule.ANOTHERS_FOLDER,
            lambda name=name: wheel({name: b""}),
        )
        for name in (
            *("pip.egg-info/installed-files.txt", "pip-99-py3.12.egg-info", ".egg-info"),
            *("Pip-99.Egg-Info/PKG-INFO", "pip.egg-link", "pip-99-py3.12.egg/x"),
            *("pip-99.dist-info", "pip.DIST-INFO", "sample_pip.egg-info/PKG-INFO"),
            *(f"{DATA}/purelib/pip.egg-info/PKG-INFO", f"{DATA}/platlib/pip.egg-link"),
        )
    ),
    # pip takes any .data folder for the wheel's own, uv one with this very name only
    *(
        Hostile(
            f"the folder {folder}",
            Rule.ANOTHERS_FOLDER,
            lambda folder=folder: wheel({f"{folder}/scripts/evil": b""}),
        )
        for folder in ("Sample-1.0.data", "sample-1.data", "sample-1.0.DATA")
    ),
    # the same on a filesystem that folds case
    *(
        Hostile(
            f"{name} in .dist-info",
            Rule.DIST_INFO,
            lambda name=name: wheel({f"{INFO}/{name}": b""}),
        )
        for name in (
            *("INSTALLER/x", "direct_url.json/x", "REQUESTED/x/y", "RECORD.jws/x"),
            *("RECORD.p7s/x", "top_level.txt/x", "installer", "Requested/x"),
            *("Top_Level.txt", "DIRECT_URL.json"),
        )
    ),
    Hostile("no METADATA", Rule.DIST_INFO, lambda: wheel(metadata={"METADATA": None})),
    Hostile("no WHEEL", Rule.DIST_INFO, lambda: wheel(metadata={"WHEEL": None})),
    Hostile("no RECORD", Rule.DIST_INFO, lambda: wheel(metadata={"RECORD": None})),
    Hostile(
        "metadata of another name",
        Rule.METADATA,
        lambda: wheel(metadata={"METADATA": b"Name: pip\nVersion: 1.0\n"}),
    ),
    Hostile(
        "two names",
        Rule.METADATA,
        lambda: wheel(metadata={"METADATA": METADATA + b"Name: pip\n"}),
    ),
    Hostile(
        "a version of many digits",
        Rule.METADATA,
        lambda: wheel(metadata={"METADATA": b"Name: sample\nVersion: " + 9999 * b"1"}),
    ),
    Hostile(
        "metadata that is no text",
        Rule.METADATA,
        lambda: wheel(metadata={"METADATA": METADATA + b"\xff"}),
    ),
    *(
        Hostile(
            f"a name in several lines, the second one {line!r}",
            Rule.METADATA,
            lambda line=line: wheel(
                metadata={"METADATA": f"Name: sample\n{line}\nVersion: 1.0\n".encode()}
            ),
        )
        for line in (" other", "\tother", " ")
    ),
    Hostile(
        "metadata without a version",
        Rule.METADATA,
        lambda: wheel(metadata={"METADATA": b"Name: sample\n\nVersion: 1.0\n"}),
    ),
    Hostile(
        "a place in several lines",
        Rule.WHEEL_VERSION,
        lambda: wheel(metadata={"WHEEL": WHEEL.replace(b"true", b"true\n x")}),
    ),
    Hostile(
        "a wheel of the future",
        Rule.WHEEL_VERSION,
        lambda: wheel(metadata={"WHEEL": b"Wheel-Version: 2.0\n"}),
    ),
    Hostile(
        "a wheel of no version",
        Rule.WHEEL_VERSION,
        lambda: wheel(metadata={"WHEEL": b""}),
    ),
    Hostile("a .data folder's file", Rule.DATA_KEY, lambda: wheel({f"{DATA}/x": b""})),
    Hostile(
        "an unknown key", Rule.DATA_KEY, lambda: wheel({f"{DATA}/stdlib/os.py": b""})
    ),
    Hostile(
        "a key in capitals", Rule.DATA_KEY, lambda: wheel({f"{DATA}/Scripts/x": b""})
    ),
    Hostile("our runtime", Rule.OUR_NAME, lambda: wheel({"_commonwheel.py": b""})),
    Hostile("our marker", Rule.OUR_NAME, lambda: wheel({"p/.sample.commonwheel": b""})),
    Hostile(
        "our runtime below purelib",
        Rule.OUR_NAME,
        lambda: wheel({f"{DATA}/purelib/00_commonwheel.pth": b""}),
    ),
    *(
        Hostile(f"our name {name}", Rule.OUR_NAME, lambda name=name: wheel({name: b""}))
        for name in (
            *("_Commonwheel/view/x.py", "00_Commonwheel.pth", "p/.Sample.CommonWheel"),
            *("p/.other.__init__.py.kept", ".other.x.py.kept", "p/.other.sub.kept/x"),
            *("p/.Other.x.Kept", "p/.kept", "p/..kept", "p/.a.kept"),
        )
    ),
    Hostile(
        "a file not in RECORD", Rule.NOT_RECORDED, lambda: _record(lambda rows: rows[1:])
    ),
    Hostile(
        "a file that is not there", Rule.NOT_PRESENT, lambda: _add("p/gone", HASH, "0")
    ),
    Hostile("a file elsewhere", Rule.NOT_PRESENT, lambda: _add("../../bin/x", HASH, "")),
    Hostile("two hashes of a file", Rule.RECORD, lambda: _add(INIT, HASH, "")),
    Hostile("RECORD that is none", Rule.RECORD, lambda: _change(HASH, "many")),
    Hostile("no hash", Rule.WEAK_HASH, lambda: _change("", "")),
    Hostile("md5", Rule.WEAK_HASH, lambda: _change(*hash_and_size(FILES[INIT], "md5"))),
    Hostile("an unknown hash", Rule.WEAK_HASH, lambda: _change("shake_128=AA", SIZE)),
    Hostile("another size", Rule.WRONG_SIZE, lambda: _change(HASH, "301")),
    Hostile("another hash", Rule.WRONG_HASH, lambda: _change(HASH[:-2] + "AA", SIZE)),
    Hostile(
        "another hash of what is never unpacked",
        Rule.WRONG_HASH,
        lambda: wheel(
            {"p/__pycache__/x.pyc": b""},
            edit_record=lambda rows: [
                (r[0], HASH, "") if r[0].endswith(".pyc") else r for r in rows
            ],
        ),
    ),
    Hostile("a part of a hash", Rule.WRONG_HASH, lambda: _change(HASH[:-4], SIZE)),
    Hostile(
        "another hash in hex", Rule.WRONG_HASH, lambda: _change("sha256=" + 64 * "0", "")
    ),
    Hostile("an entry point that is none", Rule.ENTRY_POINTS, lambda: _scripts("a = b")),
    Hostile("entry points that are none", Rule.ENTRY_POINTS, lambda: _scripts("a b:c")),
    Hostile(
        "an entry point of nothing",
        Rule.ENTRY_POINTS,
        lambda: wheel(metadata={"entry_points.txt": b"a = p:m\n[console_scripts]\n"}),
    ),
    # uv adds what is there to all sections, as configparser does
    Hostile(
        "entry points of every section",
        Rule.ENTRY_POINTS,
        lambda: _scripts("a = p:m\n[DEFAULT]\nhidden = p:m"),
    ),
    Hostile(
        "a section and an entry point in one line",
        Rule.ENTRY_POINTS,
        lambda: _scripts("[gui_scripts] a = p:m"),
    ),
    # what configparser takes for ever for
    Hostile(
        "a long line of spaces",
        Rule.ENTRY_POINTS,
        lambda: _scripts("a" + 50_000 * " " + "b"),
    ),
    Hostile(
        "entry points that multiply",
        Rule.ENTRY_POINTS,
        lambda: _scripts("\n".join(f"a{n} = {f'%(a{n + 1})s' * 99}" for n in range(9))),
    ),
    # pip CVE-2026-8643: an entry point's name as a path
    Hostile("a path as entry point", Rule.SCRIPT_NAME, lambda: _scripts("../../x = p:m")),
    Hostile("an absolute entry point", Rule.SCRIPT_NAME, lambda: _scripts("/x = p:m")),
    Hostile("a backslash in one", Rule.SCRIPT_NAME, lambda: _scripts("..\\x = p:m")),
    *(
        Hostile(
            f"an entry point {name}",
            Rule.SCRIPT_NAME,
            lambda name=name: _scripts(f"{name} = p:m"),
        )
        for name in (
            *("python", "python3", "python3.12", "Python.exe", "pythonw", "python3.13t"),
            *("activate", "activate.fish", "Activate.ps1", "deactivate.bat", "pypy3"),
            *("pyvenv.cfg", "activate_this.py", "con", "a?"),
        )
    ),
    Hostile(
        "a script named python",
        Rule.SCRIPT_NAME,
        lambda: wheel({f"{DATA}/scripts/python": b""}),
    ),
    Hostile(
        "a data file where python is",
        Rule.SCRIPT_NAME,
        lambda: wheel({f"{DATA}/data/bin/python3": b""}),
    ),
    Hostile(
        "a data file where python is on Windows",
        Rule.SCRIPT_NAME,
        lambda: wheel({f"{DATA}/data/Scripts/python.exe": b""}),
    ),
    Hostile(
        "two entry points in two cases",
        Rule.SCRIPT_COLLISION,
        lambda: _scripts("tool = p:m\nTool = p:n"),
    ),
    Hostile(
        "an entry point for console and desktop",
        Rule.SCRIPT_COLLISION,
        lambda: _scripts("tool = p:m\n[gui_scripts]\ntool = p:n"),
    ),
    Hostile(
        "an entry point and a data file",
        Rule.SCRIPT_COLLISION,
        lambda: _scripts("tool = p:m", {f"{DATA}/data/bin/tool": b""}),
    ),
    Hostile(
        "an entry point and a script in another case",
        Rule.SCRIPT_COLLISION,
        lambda: _scripts("tool = p:m", {f"{DATA}/scripts/Tool": b""}),
    ),
    Hostile(
        "the environment's configuration",
        Rule.ENVIRONMENT_FILE,
        lambda: wheel({f"{DATA}/data/pyvenv.cfg": b""}),
    ),
    *(
        Hostile(
            f"a file in the place of {folder}",
            Rule.ENVIRONMENT_FILE,
            lambda folder=folder: wheel({f"{DATA}/data/{folder}": b""}),
        )
        for folder in (
            *("bin", "Scripts", "lib", "lib64", "include", "lib/python3.12"),
            *("lib64/python3.13t", "lib/python3.12/site-packages", "lib/pypy3.11"),
            *("include/site", "include/site/python3.12", "include/python3.12"),
        )
    ),
    Hostile(
        "modules as data",
        Rule.ENVIRONMENT_FILE,
        lambda: wheel({f"{DATA}/data/lib/python3.12/site-packages/_x.pth": b""}),
    ),
)

_LARGE = (
    Hostile("200,000 empty files", Rule.MEMBERS_LIMIT, _many),
    Hostile(
        "very many folders",
        Rule.MEMBERS_LIMIT,
        lambda: _with(*(Part(f"{n:03}/" + "a/" * 500) for n in range(210))),
    ),
    Hostile(
        "17 GB",
        Rule.SIZE_LIMIT,
        lambda: _with(*_claiming("p/{}", 0xF0000000, 5)),
    ),
    Hostile(
        "very many lines of entry points",
        Rule.MEMBERS_LIMIT,
        lambda: _scripts("\n" * 100_000, {"p/noise.bin": _noise(10_000).content}),
    ),
    Hostile("a bomb", Rule.RATIO_LIMIT, lambda: wheel({"p/zeros": bytes(10 << 20)})),
    Hostile("a long name", Rule.PATH_LIMIT, lambda: wheel({"a/" * 512 + "x": b""})),
    Hostile(
        "much metadata",
        Rule.METADATA_LIMIT,
        lambda: archive([*_claiming(f"{INFO}/METADATA", 20 << 20), _noise(200_000)]),
    ),
    Hostile(
        "a large central folder",
        Rule.METADATA_LIMIT,
        lambda: _with(
            *(
                Part(f"p/{n}", central={"extra": extra(0x6000, bytes(60_000))})
                for n in range(300)
            )
        ),
    ),
)

HOSTILE = (*_ARCHIVES, *_NAMES, *_WHEELS, *_LARGE)
"""Every row."""
