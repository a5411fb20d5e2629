"""Unpacking: every file where it belongs, and what linking has to know."""

from __future__ import annotations

from pathlib import Path

from binary_files import elf
from commonwheel import unpack, wheel
from commonwheel.wheel import Area
from wheel_file import hash_and_size, write_wheel


def test_what_an_entry_says(tmp_path: Path) -> None:
    files = {
        "n/p/__init__.py": "12345",
        "m.py": "",
        "sample-1.0.data/purelib/n/p/sub/x.py": "",
        "sample-1.0.data/platlib/x.pth": "1",
        "sample-1.0.data/scripts/run": "#!/bin/sh\n",
        "sample-1.0.data/data/etc/x": "",
    }
    path = write_wheel(
        tmp_path,
        files,
        executable=["sample-1.0.data/scripts/run"],
        tag="py2.py3-none-any",
    )
    archive, root = wheel.read(path), tmp_path / "entry"
    unpack.extract(archive, root)
    description = unpack.describe(archive, root, "the-id", "ab" * 32)
    assert (description.id, description.sha256) == ("the-id", "ab" * 32)
    assert description.filename == path.name
    assert description.tags == ("py2-none-any", "py3-none-any")
    assert description.links == ("m.py", "n/p/")
    assert [file.path for file in description.real] == ["x.pth"]
    assert [(f.path, f.executable) for f in description.script_files] == [("run", True)]
    assert [file.path for file in description.data] == ["etc/x"]
    assert (description.files, description.folders, description.size) == (4, 3, 6)
    start_up = description.real[0]
    assert (start_up.hash, str(start_up.size)) == hash_and_size(b"1")


def test_what_an_entry_says_of_binaries_that_look_outside(tmp_path: Path) -> None:
    search = "$ORIGIN/../../b/lib:$ORIGIN/../../../../lib"
    files = {
        "n/a/__init__.py": "",
        "n/a/lib/liba.so.1": elf(["libb.so.1", "libc.so.6"], search),
        "n/a/share/x": "",
    }
    archive = wheel.read(write_wheel(tmp_path, files))
    unpack.extract(archive, tmp_path / "entry")
    description = unpack.describe(archive, tmp_path / "entry", "the-id", "ab" * 32)
    assert description.links == ("n/a/__init__.py", "n/a/lib/liba.so.1", "n/a/share/")
    assert description.beside == ("n/b/lib",)
    assert description.above == ("$ORIGIN/../../../../lib",)
    assert description.wanted == ("libb.so.1",)


def test_metadata_of_another_kind_is_left_out(tmp_path: Path) -> None:
    """What would be found beside ``.dist-info``, for pip to uninstall by it."""
    own = {
        "Sample.egg-info/installed-files.txt": "../sample.py\n",
        "Sample.egg-info/PKG-INFO": "Name: sample\n",
        "sample-1.0-py3.12.egg-info": "Name: sample\n",
        "sample-1.0.data/purelib/SAMPLE.egg-link": "/x\n",
        "sample-1.0-py3.12.egg/EGG-INFO/PKG-INFO": "Name: sample\n",
    }
    files = {"sample.py": "", "p/x.egg-info/PKG-INFO": "", **own}
    archive, root = wheel.read(write_wheel(tmp_path, files)), tmp_path / "entry"
    unpack.extract(archive, root)
    text = unpack.complete_metadata(archive, root / Area.METADATA.value)
    description = unpack.describe(archive, root, "the-id", "ab" * 32)
    assert {path.name for path in (root / "tree").iterdir()} == {"sample.py", "p"}
    assert description.links == ("p/x.egg-info/", "sample.py")
    assert [row for row in text.splitlines() if ".egg" in row] == [
        row for row in text.splitlines() if row.startswith("p/x.egg-info/PKG-INFO,")
    ]
    assert [remark.partition(" ")[0] for remark in description.remarks] == [
        *("Sample.egg-info", "sample-1.0-py3.12.egg-info", "SAMPLE.egg-link"),
        "sample-1.0-py3.12.egg",
    ]


def test_record_has_the_rows_that_are_the_same_everywhere(tmp_path: Path) -> None:
    files = {"sample-1.0.data/purelib/p/x, y.py": "", "sample-1.0.data/data/d": ""}
    path = write_wheel(tmp_path, files, metadata={"INSTALLER": "", "RECORD.jws": None})
    root = tmp_path / "entry"
    (root / "dist-info").mkdir(parents=True)
    archive = wheel.read(path)
    unpack.extract(archive, root)
    text = unpack.complete_metadata(archive, root / Area.METADATA.value)
    assert text == (root / "dist-info/RECORD").read_text()
    rows = {line.rpartition(",sha256")[0] for line in text.splitlines()}
    assert rows == {
        '"p/x, y.py"',
        "sample-1.0.dist-info/METADATA",
        "sample-1.0.dist-info/WHEEL",
        "sample-1.0.dist-info/top_level.txt",
    }
    assert (root / "dist-info/top_level.txt").read_text() == "p\n"


def test_the_top_level_names_that_a_wheel_says_itself_stay(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"p/x.py": ""}, metadata={"top_level.txt": "own\n"})
    archive = wheel.read(path)
    unpack.extract(archive, tmp_path / "entry")
    unpack.complete_metadata(archive, tmp_path / "entry/dist-info")
    assert (tmp_path / "entry/dist-info/top_level.txt").read_text() == "own\n"
