"""What is a wheel, and every way not to be one."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonwheel import unpack, wheel
from commonwheel.errors import InvalidWheel
from commonwheel.wheel import Area
from wheel_file import Rows, hash_and_size, write_wheel

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


def drop(name: str) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if row[0] != name]


def change(name: str, *columns: str) -> Callable[[Rows], Rows]:
    return lambda rows: [(name, *columns) if row[0] == name else row for row in rows]


def add(*row: str) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows, row]  # type: ignore[list-item]


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o644) << 16
    return info


INIT, SIZE = "p/__init__.py", "300"
HASH = hash_and_size(b"x = 1\n" * 50)[0]
MD5 = hash_and_size(b"x = 1\n" * 50, "md5")[0]
SHA512 = hash_and_size(b"x = 1\n" * 50, "sha512")[0]
INFO = "sample-1.0.dist-info"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"file_name": "sample.whl"}, "Invalid wheel filename"),
        ({"file_name": "sample-1.0.zip"}, "Invalid wheel filename"),
        ({"file_name": "sample-1_0-x-py3-none-any.whl"}, "Invalid"),
        ({"file_name": "other-1.0-py3-none-any.whl"}, f"{INFO} does not belong to other"),
        ({"file_name": "sample-2.0-py3-none-any.whl"}, f"{INFO} does not belong to"),
        ({"extra": [("x-1.dist-info/RECORD", "")]}, "one .dist-info folder .*, x-1"),
        ({"metadata": {"METADATA": None}}, f"no {INFO}/METADATA"),
        ({"metadata": {"WHEEL": None}}, f"no {INFO}/WHEEL"),
        ({"metadata": {"RECORD": None}}, f"no {INFO}/RECORD"),
        ({"metadata": {"METADATA": "Name: other\nVersion: 1.0\n"}}, "of other 1.0, not"),
        ({"metadata": {"METADATA": "Name: sample\nVersion: 2\n"}}, "of sample 2, not"),
        ({"metadata": {"METADATA": b"Name: sample\xff"}}, "METADATA': not UTF-8"),
        ({"metadata": {"WHEEL": "Wheel-Version: 2.0\n"}}, "2.0 is not supported"),
        ({"metadata": {"WHEEL": ""}}, "Wheel-Version None is not supported"),
        ({"metadata": {"RECORD": 'a,"b'}}, "RECORD': not a list of files|has no such"),
        ({"edit_record": change(INIT, HASH[:-1] + "!", SIZE)}, f"{INIT}': its hash is"),
        ({"edit_record": change(INIT, HASH, "301")}, f"{INIT}': .* 301 .* archive 300"),
        ({"edit_record": change(INIT, HASH, "many")}, "RECORD': not a list of files"),
        ({"edit_record": change(INIT, "", "")}, f"{INIT}': .* no sha256"),
        ({"edit_record": change(INIT, MD5, SIZE)}, f"{INIT}': .* no sha256"),
        ({"edit_record": change(INIT, "shake_128=AA", SIZE)}, f"{INIT}': .* no sha256"),
        ({"edit_record": drop(INIT)}, f"{INIT}': RECORD does not list it"),
        ({"edit_record": add("p/gone.py", HASH, "")}, "p/gone.py': .* has no such file"),
        ({"edit_record": add(INIT, HASH, "")}, f"{INIT}': RECORD lists it twice"),
        ({"files": {**FILES, "../x": ""}}, "../x': a path that leaves"),
        ({"files": {**FILES, "p//x": ""}}, "p//x': a path that leaves"),
        ({"files": {**FILES, "p\\x": ""}}, "a path that leaves"),
        ({"files": {**FILES, "/x": ""}}, "/x': a path that leaves"),
        ({"files": {**FILES, "c:/x": ""}}, "c:/x': an absolute path"),
        ({"files": {**FILES, "p/a\nb": ""}}, "line break"),
        ({"files": {**FILES, "p/a\u2028b": ""}}, "line break"),
        ({"files": {**FILES, "p": ""}}, "'p': both a file and a folder"),
        ({"extra": [("p/data.bin/", "")]}, "p/data.bin': both a file and a folder"),
        ({"extra": [(INIT, "")]}, f"{INIT}': it is there twice"),
        ({"extra": [(special("p/l", stat.S_IFLNK), "")]}, "p/l': neither a file nor"),
        ({"extra": [(special("p/f", stat.S_IFIFO), "")]}, "p/f': neither a file nor"),
        (
            {"files": {**FILES, "sample-1.0.data/purelib/p/data.bin": ""}},
            "purelib/p/data.bin': it belongs at the same place as p/data.bin",
        ),
        (
            {"files": {**FILES, "sample-1.0.data/purelib/p": ""}},
            "purelib/p': .* where there is a folder",
        ),
        ({"files": {"sample-1.0.data/lib/x": ""}}, "lib/x': a .data folder holds only"),
        ({"files": {"sample-1.0.data/purelib": ""}}, "a .data folder holds only"),
        ({"files": {"other-1.0.data/purelib/x": ""}}, "other-1.0.data does not belong"),
        ({"files": {"_commonwheel/links/x.link": ""}}, "keeps for itself"),
        ({"files": {"sample-1.0.data/purelib/_commonwheel.py": ""}}, "keeps for itself"),
        ({"files": {"00_commonwheel.pth": ""}}, "keeps for itself"),
        ({"files": {"p/.sample.commonwheel": ""}}, "keeps for itself"),
        ({"files": {".commonwheel": ""}}, "keeps for itself"),
        (
            {"metadata": {"entry_points.txt": "[console_scripts]\na = b\n"}},
            "entry_points",
        ),
        ({"metadata": {"entry_points.txt": "[console_scripts]\na b:c"}}, "entry_points"),
        (
            {"metadata": {"entry_points.txt": "[console_scripts]\n../a = b:c\n"}},
            "entry_points.txt': '../a' cannot name a script",
        ),
    ],
)
def test_refuses(tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    wrong = {"files": FILES, **wrong}
    path = write_wheel(tmp_path, **wrong)
    with pytest.raises(InvalidWheel, match=reason) as caught:
        unpack.extract(wheel.read(path), tmp_path / "unpacked")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} is not a valid wheel: ")


def test_accepts_what_is_right_if_unusual(tmp_path: Path) -> None:
    path = write_wheel(
        tmp_path,
        {INIT: FILES[INIT], "commonwheel/x.commonwheel": "", "naïve/包.py": ""},
        edit_record=lambda rows: [
            *change(INIT, SHA512, "")(rows),
            ("p/", "", ""),
            (f"{INFO}/RECORD.jws", "", ""),
        ],
        extra=[("p/", ""), (f"{INFO}/RECORD.jws", "{}")],
    )
    unpack.extract(wheel.read(path), tmp_path / "unpacked")
    assert (tmp_path / "unpacked/tree/naïve/包.py").exists()


def test_refuses_an_encrypted_or_strangely_compressed_member(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, FILES)
    for position, value in ((8, 1), (10, 99)):  # flag bits, method
        content = bytearray(path.read_bytes())
        for found in re.finditer(rb"PK\x01\x02", bytes(content)):
            content[found.start() + position] |= value
        wrong = tmp_path / str(value) / path.name
        wrong.parent.mkdir()
        wrong.write_bytes(content)
        with pytest.raises(InvalidWheel, match="damaged or incomplete"):
            unpack.extract(wheel.read(wrong), tmp_path / "unpacked")


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
    with pytest.raises(InvalidWheel, match="damaged or incomplete"):
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
