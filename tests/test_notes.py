"""Notes: whatever is wrong with their file is as if nothing had been noted."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonwheel.notes import Notes

WORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=5
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@given(pairs=st.lists(st.tuples(WORDS, WORDS), max_size=8))
def test_the_last_of_a_key_counts(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("notes") / "notes"
    writer = Notes(path)
    for key, value in pairs:
        writer.note(key, value)
    assert dict(writer) == dict(Notes(path)) == dict(pairs)


@pytest.mark.parametrize("name", ["notes", ".notes"])
def test_where_a_link_leads_nothing_is_written(path: Path, name: str) -> None:
    target = path.with_name("target")
    target.write_text("kept")
    if name != path.name:
        Notes(path).note("key", "value")
    path.with_name(name).symlink_to(target)
    Notes(path).note("other", "value")
    Notes(path).keep(lambda key, _: key != "key")
    assert target.read_text() == "kept"


def test_what_is_not_believed_is_nothing_and_stays(path: Path) -> None:
    path.write_text("key value\n")
    notes = Notes(path, believes=lambda _: False)
    assert dict(notes) == {}
    notes.note("key", "other")
    assert path.read_text() == "key value\n"


def test_others_cannot_write_to_what_is_noted(path: Path) -> None:
    before = os.umask(0)
    try:
        Notes(path).note("key", "value")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_same_is_not_written_twice(path: Path) -> None:
    for _ in range(3):
        Notes(path).note("key", "value")
    assert path.read_text() == "key value\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", {}),
        (b"key val", {"key": "val"}),
        (b"key\nother value\n", {"other": "value"}),
        (b"a b c\nother value\n", {"other": "value"}),
        (b"\xff\xfe\n", {}),
    ],
)
def test_damage_is_passed_over(path: Path, content: bytes, found: object) -> None:
    path.write_bytes(content)
    assert dict(Notes(path)) == found


def test_lines_of_two_writers_never_mix(path: Path) -> None:
    one, two = Notes(path), Notes(path)
    for number in range(50):
        one.note(f"one{number}", "x")
        two.note(f"two{number}", "y")
    assert len(Notes(path)) == 100


def test_what_cannot_be_written_is_not_noted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(errno.ENOSPC, "full")

    notes = Notes(path, refuse)
    notes.note("key", "value")
    assert dict(notes) == {}


def test_only_what_is_wanted_is_kept(path: Path) -> None:
    notes = Notes(path)
    for number in range(4):
        notes.note(f"key{number}", str(number))
    notes.keep(lambda key, value: int(value) % 2 == 0 and key.startswith("key"))
    assert dict(notes) == dict(Notes(path)) == {"key0": "0", "key2": "2"}
    before = path.stat().st_ino
    notes.keep(lambda key, value: True)
    assert path.stat().st_ino == before


def test_keeping_that_fails_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.EIO, "broken")

    notes = Notes(path)
    notes.note("key", "value")
    monkeypatch.setattr(os, "replace", refuse)
    notes.keep(lambda key, value: False)
    assert dict(notes) == dict(Notes(path)) == {"key": "value"}
