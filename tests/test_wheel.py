"""What is a wheel, and every way not to be one."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from commonwheel import unpack, wheel
from commonwheel.errors import InvalidWheel
from commonwheel.limits import Limits, parse
from commonwheel.store import Store
from commonwheel.wheel import Area
from commonwheel.wheel_rules import WheelRule as Rule
from hostile_wheels import HOSTILE, INFO, INIT, Hostile
from wheel_file import Rows, hash_and_size, write_wheel
from zip_file import (
    DEFLATED,
    FULL,
    STORED,
    STREAMED,
    UTF8,
    Part,
    archive,
    extra,
    streamed,
    wheel_parts,
    wide,
)

FILES = {"p/__init__.py": "x = 1\n" * 50, "p/data.bin": bytes(range(256))}


def test_reads_everything_that_a_wheel_says(tmp_path: Path) -> None:
    files = {
        **FILES,
        "Sample_X-1.0.data/purelib/pure.py": "",
        "Sample_X-1.0.data/platlib/plat.so": "",
        "Sample_X-1.0.data/scripts/run": "#!python\n",
        "Sample_X-1.0.data/headers/x.h": "",
        "Sample_X-1.0.data/data/share/x": "",
    }
    points = "[console_scripts]\na = p:main\nb = p.q:c.d [extra]\n[gui_scripts]\ng=p:g\n"
    path = write_wheel(
        tmp_path,
        files,
        name="Sample_X",
        tag="py2.py3-none-any",
        purelib=False,
        metadata={"entry_points.txt": points, "licenses/L": ""},
        executable=["Sample_X-1.0.data/scripts/run"],
    )
    read = wheel.read(path)
    assert (read.name, read.version, read.prefix) == ("sample-x", "1.0", "Sample_X-1.0")
    assert not read.root_is_purelib
    assert {str(tag) for tag in read.tags} == {"py2-none-any", "py3-none-any"}
    places = {(m.area, m.path) for m in read.members if m.area is not Area.METADATA}
    assert places == {
        (Area.TREE, "p/__init__.py"),
        (Area.TREE, "p/data.bin"),
        (Area.TREE, "pure.py"),
        (Area.TREE, "plat.so"),
        (Area.SCRIPTS, "run"),
        (Area.HEADERS, "x.h"),
        (Area.DATA, "share/x"),
    }
    assert {m.path for m in read.members if m.executable} == {"run"}
    assert [(s.name, s.module, s.attribute, s.gui) for s in read.scripts] == [
        ("a", "p", "main", False),
        ("b", "p.q", "c.d", False),
        ("g", "p", "g", True),
    ]


SHA512 = hash_and_size(b"x = 1\n" * 50, "sha512")[0]


def change(name: str, *columns: str) -> Callable[[Rows], Rows]:
    return lambda rows: [(name, *columns) if row[0] == name else row for row in rows]  # type: ignore[misc]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda each: each.what)
def test_refuses(tmp_path: Path, hostile: Hostile) -> None:
    path = tmp_path / hostile.file_name
    path.write_bytes(hostile.make())
    with pytest.raises(InvalidWheel) as caught:
        unpack.extract(wheel.read(path), tmp_path / "unpacked")
    assert caught.value.rule is hostile.rule
    message = str(caught.value)
    assert message.startswith(f"{path} is not a valid wheel: ")
    assert message.endswith(f"[{hostile.rule.value}]")
    assert len(message.splitlines()) == 1
    assert message.isprintable()


def test_most_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    late = {Rule.WRONG_HASH, Rule.CONTENTS}
    path = tmp_path / "sample-1.0-py3-none-any.whl"
    for hostile in HOSTILE:
        if hostile.rule not in late and hostile.file_name == path.name:
            path.write_bytes(hostile.make())
            with pytest.raises(InvalidWheel):
                wheel.read(path)


def test_every_rule_can_be_broken_and_is_explained() -> None:
    broken = {hostile.rule for hostile in HOSTILE}
    assert broken == set(Rule) - {Rule.CHANGED}  # see test_store
    page = Path(__file__).parents[1] / "docs/security.md"
    explained = set(re.findall(r"^\| `([a-z0-9-]+)` \|", page.read_text(), re.MULTILINE))
    assert explained == {rule.value for rule in Rule}


@pytest.mark.parametrize(
    ("limits", "rule", "way_out"),
    [
        (Limits(members=5), Rule.MEMBERS_LIMIT, "6 members, .*limit of 5.*members=6"),
        (Limits(size=900), Rule.SIZE_LIMIT, r"size=\d+"),
        (Limits(ratio=1), Rule.RATIO_LIMIT, "3 times its size.*ratio=3"),
        (Limits(path=26), Rule.PATH_LIMIT, "29 bytes.*path=29"),
        (Limits(metadata=1), Rule.METADATA_LIMIT, r"metadata=\d+"),
    ],
)
def test_limits_say_how_to_raise_them(
    tmp_path: Path, limits: Limits, rule: Rule, way_out: str
) -> None:
    path = write_wheel(tmp_path, {**FILES, "p/large.py": "x" * 3000})
    with pytest.raises(InvalidWheel, match=way_out) as caught:
        wheel.read(path, limits)
    assert caught.value.rule is rule
    raised = re.search(r"put (.*) into COMMONWHEEL_WHEEL_LIMITS", str(caught.value))
    assert raised is not None
    wheel.read(path, parse(raised[1]))


HEADERS_OF_SAMPLE = "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n"


@pytest.mark.parametrize(
    ("largest", "metadata", "folders"),
    [
        ("METADATA", {"METADATA": f"{HEADERS_OF_SAMPLE}\n{'x' * 5000}"}, 0),
        ("entry_points.txt", {"entry_points.txt": "\n" * 5000}, 0),
        ("RECORD", {f"licenses/{number}": "" for number in range(50)}, 0),
        # the others are not read as a whole
        ("central folder", {"LICENSE": "x" * 9000, "licenses/METADATA": 9000 * "x"}, 50),
    ],
)
@pytest.mark.parametrize("limit", [1, 500])
def test_one_refusal_says_what_all_metadata_needs(
    tmp_path: Path, largest: str, metadata: dict[str, str], folders: int, limit: int
) -> None:
    empty = [(f"{number}/", "") for number in range(folders)]
    path = write_wheel(tmp_path, FILES, metadata=metadata, extra=empty)
    with pytest.raises(InvalidWheel, match=largest) as caught:
        wheel.read(path, Limits(metadata=limit))
    assert caught.value.rule is Rule.METADATA_LIMIT
    needed = re.search(r"put metadata=(\d+) into", str(caught.value))
    assert needed is not None
    wheel.read(path, Limits(metadata=int(needed[1])))
    with pytest.raises(InvalidWheel):
        wheel.read(path, Limits(metadata=int(needed[1]) - 1))


def test_a_name_that_is_missing_is_not_the_name_none(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {}, name="none", metadata={"METADATA": "Version: 1.0\n"})
    with pytest.raises(InvalidWheel, match="'METADATA': it has no Name"):
        wheel.read(path)


def test_what_is_not_said_of_the_place_means_the_same_to_all(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, FILES, metadata={"WHEEL": "Wheel-Version: 1.0\n"})
    assert not wheel.read(path).root_is_purelib


@contextmanager
def at_once() -> Iterator[None]:
    """Whatever takes longer than a few seconds fails."""

    def fail(*_: object) -> None:
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(5)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def add(path: Path) -> object:
    """Put a wheel file into a store."""
    return Store(path.parent / "store").add(path, None)


@pytest.mark.parametrize("reader", [wheel.read, add])
def test_a_wheel_is_a_file(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    path = tmp_path / "sample-1.0-py3-none-any.whl"
    os.mkfifo(path)
    with at_once(), pytest.raises(OSError, match="it is not a file"):
        reader(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with at_once(), pytest.raises(OSError, match="it is not a file"):
        reader(path)
    path.unlink()
    path.mkdir()
    with at_once(), pytest.raises(OSError, match=r"directory|it is not a file"):
        reader(path)
    path.rmdir()
    with socket.socket(socket.AF_UNIX) as listening, at_once():
        listening.bind(os.fspath(path))
        with pytest.raises(OSError, match=r"No such device|it is not a file"):
            reader(path)


def test_what_is_odd_but_harmless_is_told(tmp_path: Path) -> None:
    odd = [
        Part("p/tool", b"", mode=0o104755),
        Part("sample-1.0.data/purelib/sitecustomize.py", b""),
        Part("usercustomize/__init__.py", b""),
    ]
    path = tmp_path / "sample-1.0-py3-none-any.whl"
    path.write_bytes(archive(wheel_parts(extra=odd)))
    read = wheel.read(path)
    assert [remark.split(" ", 1)[0] for remark in read.remarks] == [
        "p/tool",
        "sitecustomize.py",
        "usercustomize/__init__.py",
    ]
    unpack.extract(read, tmp_path / "unpacked")
    assert stat.S_IMODE((tmp_path / "unpacked/tree/p/tool").stat().st_mode) == 0o755


def test_accepts_what_is_right_if_unusual(tmp_path: Path) -> None:
    path = write_wheel(
        tmp_path,
        {
            INIT: FILES[INIT],
            "commonwheel/x.commonwheel": "",
            "naïve/包.py": "",
            **{f"sample-1.0.data/data/{name}": "" for name in ("share", "lib/python")},
            **{f"p/{name}": "" for name in ("x.kept", ".kept.py", ".a.kept.b/x")},
            **{f"p/{name}": "" for name in ("pip-99.dist-info/RECORD", "x.egg-info")},
        },
        edit_record=lambda rows: [
            *change(INIT, SHA512, "")(rows),
            ("p/", "", ""),
            (f"{INFO}/RECORD.jws", "", ""),
        ],
        extra=[("p/", ""), (f"{INFO}/RECORD.jws", "{}")],
    )
    unpack.extract(wheel.read(path), tmp_path / "unpacked")
    assert (tmp_path / "unpacked/tree/naïve/包.py").exists()


MANY = 24_000
POINTS = "".join(f"s{number:x} = p:main\n" for number in range(MANY))
ODD: dict[str, dict[str, Any]] = {
    "folders, the last one twice": {
        "files": {},
        "extra": [(f"{min(number, MANY - 2):x}/", "") for number in range(MANY)],
    },
    "scripts that are entry points, too": {
        "files": {f"sample-1.0.data/scripts/s{number:x}": "" for number in range(MANY)},
        "metadata": {"entry_points.txt": f"[console_scripts]\n{POINTS}"},
    },
    "files that lie deep": {
        "files": {f"{200 * 'a/'}{number:x}.py": "" for number in range(MANY)},
    },
}


def seconds(path: Path) -> float:
    """Of this processor, to read the wheel ``path`` and describe it."""
    begin = time.process_time()
    with suppress(InvalidWheel):
        unpack.describe(wheel.read(path), path.parent, "the-id", "ab" * 32)
    return time.process_time() - begin


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The seconds of a usual wheel with as many files."""
    files = {f"p/{number:x}.py": "" for number in range(MANY)}
    return seconds(write_wheel(tmp_path_factory.mktemp("plain"), files))


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_no_wheel_takes_much_longer_than_others_as_large(
    tmp_path: Path, plain: float, odd: dict[str, Any]
) -> None:
    assert seconds(write_wheel(tmp_path, **odd)) < 4 * plain


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("complete"), FILES)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_part_of_a_wheel_is_none(complete: Path, data: st.DataObject) -> None:
    content = complete.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    path = complete.with_name("part") / complete.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content[:length])
    with pytest.raises(InvalidWheel, match="incomplete"):
        wheel.read(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_wheel_is_refused_or_means_the_same(
    complete: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(complete.read_bytes())
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position : position + data.draw(st.integers(1, 8))] = data.draw(
        st.binary(min_size=1, max_size=8)
    )
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / complete.name
    path.write_bytes(damaged)
    try:
        unpack.extract(wheel.read(path), folder)
    except InvalidWheel:
        return
    for name, expected in FILES.items():
        content = expected.encode() if isinstance(expected, str) else expected
        assert (folder / "tree" / name).read_bytes() == content


def test_other_files_are_none(tmp_path: Path) -> None:
    path = tmp_path / "sample-1.0-py3-none-any.whl"
    for content in (b"", b"PK", b"<html>", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(InvalidWheel):
            wheel.read(path)
    with pytest.raises(FileNotFoundError):
        wheel.read(path.with_name("gone-1.0-py3-none-any.whl"))


NAMES = st.one_of(
    st.sampled_from(["q/a", "q/b", "q/é", "sample-1.0.data/scripts/s", "q/", "x.pth"]),
    st.sampled_from(
        ["q/c", "q/d", "r/a", "sample-1.0.data/data/t", f"{INFO}/licenses/L"]
    ),
    st.sampled_from(
        [
            *("p/__init__.py", "P/x", "p", "p/", "q/x", "../x", "sample-1.0.data/data/x"),
            *("sample-1.0.data/scripts/x", "é/x", "x.pth", f"{INFO}/INSTALLER", "p/x\0y"),
        ]
    ),
    st.text(st.sampled_from("ab/.\\: é"), min_size=1, max_size=6),
)
HEADERS = st.dictionaries(
    st.sampled_from(["flags", "method", "crc", "packed", "size", "needed"]),
    st.sampled_from([0, 1, 8, 20, 46, 300, UTF8, STREAMED]),
    max_size=1,
)
EXTRAS = st.sampled_from([b"", wide(), wide(3, 3), extra(0x5455, b"x"), b"\1", bytes(4)])


@st.composite
def parts(draw: st.DrawFn) -> Part:
    """A member, mostly a right one."""
    name = draw(NAMES)
    wrong = draw(st.integers(0, 7)) == 7
    part = Part(
        name,
        draw(st.binary(max_size=8)),
        draw(st.sampled_from([DEFLATED, STORED])),
        0 if name.isascii() else UTF8,
        draw(st.sampled_from([None, None, None, 0o100755, 0o104755, 0o120777])),
    )
    if draw(st.booleans()):
        part = streamed(part, signed=draw(st.booleans()))
    if draw(st.booleans()):  # a zip64 field in the local header, needed or not
        figures = (part.said({})["size"], part.said({})["packed"])
        full = draw(st.booleans()) and not part.flags & STREAMED
        sizes = {"size": FULL, "packed": FULL} if full else {}
        part = part.but(local={**part.local, **sizes, "extra": wide(*figures)})
    if wrong:
        part = part.but(
            local={**part.local, **draw(HEADERS), "extra": draw(EXTRAS)},
            central={**draw(HEADERS), "extra": draw(EXTRAS)},
            before=draw(st.sampled_from([b"", b"", b"x"])),
        )
    return part


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_it_is_made_of_it_means_one_thing_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    more = data.draw(st.lists(parts(), max_size=3))
    order = data.draw(st.permutations(wheel_parts(extra=more)))
    content = archive(
        order,
        large=data.draw(st.sampled_from([None, None, None, {}, {}, {"disks": 0}])),
        full=data.draw(st.booleans()),
        end=data.draw(st.sampled_from([*5 * [{}], {"count": 5}, {"begin": 1}])),
        before_central=data.draw(st.sampled_from([*5 * [b""], b"x"])),
    )
    folder = tmp_path_factory.mktemp("made")
    path = folder / "sample-1.0-py3-none-any.whl"
    path.write_bytes(content)
    try:
        read = wheel.read(path)
        unpack.extract(read, folder / "unpacked")
    except InvalidWheel:
        event("refused")
        assert set(os.listdir(folder)) <= {path.name, "unpacked"}
        return
    event("accepted")
    with zipfile.ZipFile(path) as other:
        assert other.testzip() is None
        names = [name for name in other.namelist() if not name.endswith("/")]
        assert names == [member.name for member in read.members]
        for member in read.members:
            unpacked = folder / "unpacked" / member.area.value / member.path
            if unpacked.exists():  # all but RECORD and what installers write
                assert unpacked.read_bytes() == other.read(member.name)
            else:
                assert member.area is Area.METADATA
