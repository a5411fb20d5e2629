"""Link manifests: what is written is what is read, by us and by the runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonwheel import manifest
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest

FOLDERS = st.binary(min_size=1).filter(lambda name: not set(name) & {0, 10, 13})
ONE = Manifest("one", "1.0", Path("/store/entries/one"), "0" * 64, "one-1.0.dist-info")


@given(FOLDERS.map(lambda name: Path("/", name.decode("utf-8", "surrogateescape"))))
def test_round_trip(entry: Path) -> None:
    one = Manifest("one", "1.0", entry, "0" * 64, "one-1.0.dist-info")
    assert manifest.decode(manifest.encode(one)) == one


def test_the_lines_that_the_runtime_reads() -> None:
    lines = manifest.encode(ONE).decode().splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    assert fields == {
        "commonwheel": "1",
        "name": "one",
        "version": "1.0",
        "entry": "/store/entries/one",
        "sha256": "0" * 64,
        "metadata": "one-1.0.dist-info",
    }


def test_a_line_break_would_be_another_line() -> None:
    one = Manifest("one", "1.0", Path("/a\nname: two"), "", "")
    with pytest.raises(ValueError, match="line break"):
        manifest.encode(one)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a link manifest of this format: ''"),
        (b"commonwheel: 2\nname: one\n", "not .* this format: 'commonwheel: 2'"),
        (b"commonwheel: 1\nname: one\n", "without 'version'"),
        (b"\xff\x00", "not a link manifest"),
        (manifest.encode(ONE) + b"mode: symlink\n", "'symlink' is not a valid LinkMode"),
    ],
)
def test_refuses(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        manifest.decode(content)


def test_reading_all(tmp_path: Path) -> None:
    assert manifest.read_all(tmp_path) == {}
    links = tmp_path / manifest.LINKS
    links.mkdir(parents=True)
    (tmp_path / ONE.path).write_bytes(manifest.encode(ONE))
    (links / ".hidden.link").write_text("half")
    (links / "other.txt").write_text("something else")
    assert manifest.read_all(tmp_path) == {"one": ONE}
    (links / "bad.link").write_text("")
    with pytest.raises(ValueError, match=r"bad\.link: not a link manifest"):
        manifest.read_all(tmp_path)
    assert manifest.read_all(tmp_path, without={"bad"}) == {"one": ONE}


@pytest.mark.parametrize("mode", [LinkMode.REFLINK, LinkMode.HARDLINK, LinkMode.COPY])
def test_real_files_say_how_they_were_made(mode: LinkMode) -> None:
    real = replace(ONE, mode=mode)
    assert (
        manifest.encode(real) == manifest.encode(ONE) + f"mode: {mode.value}\n".encode()
    )
    assert manifest.decode(manifest.encode(real)) == real
    assert not real.is_linked


def test_links_say_nothing_as_they_always_did() -> None:
    """An older commonwheel reads what a newer one has linked, and the reverse."""
    assert b"mode" not in manifest.encode(ONE)
    assert manifest.decode(manifest.encode(ONE) + b"mode: manifest\n") == ONE
    assert ONE.is_linked


def test_reading_what_is_linked(tmp_path: Path) -> None:
    two = replace(ONE, name="two", mode=LinkMode.COPY)
    (tmp_path / manifest.LINKS).mkdir(parents=True)
    for each in (ONE, two):
        (tmp_path / each.path).write_bytes(manifest.encode(each))
    assert manifest.read_linked(tmp_path) == {"one": ONE}
    assert manifest.read_all(tmp_path) == {"one": ONE, "two": two}
    assert manifest.read_linked(tmp_path, without={"one"}) == {}
