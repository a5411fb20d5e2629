"""RECORD files: what is written is what is read."""

from __future__ import annotations

import csv
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonwheel import record
from commonwheel.record import Row
from wheel_file import hash_and_size

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    # refused in wheels; a backslash in RECORD is read as a slash
    lambda name: not {"\r", "\0", "\\"} & set(name)
)
ROWS = st.builds(
    Row, NAMES, st.sampled_from(["", "sha256=AAAA"]), st.sampled_from(["", "0", "12"])
)


@given(st.lists(ROWS))
def test_round_trip(rows: list[Row]) -> None:
    text = record.render(rows)
    assert list(record.parse(text)) == rows
    assert record.paths(text) == [row.path for row in rows]


@given(st.lists(ROWS))
def test_others_read_the_same(rows: list[Row]) -> None:
    lines = record.render(rows).splitlines(keepends=True)
    if not any(set(row.path) & set("\v\f\x1c\x1d\x1e\x85\u2028\u2029") for row in rows):
        assert [Row(*row) for row in csv.reader(lines)] == rows


def test_reads_what_others_write() -> None:
    text = 'a.py,sha256=AA,1\r\n"with, comma","sha256=AA",\r\n"q""uote",,\r\n'
    assert record.paths(text) == ["a.py", "with, comma", 'q"uote']
    assert [row.path for row in record.parse(text)] == record.paths(text)


@pytest.mark.parametrize("text", ["a.py", "a,b", "a,,x", ",,", "a,nothing,", "a,,,"])
def test_refuses_what_is_no_row(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(record.parse(text))


def test_digest() -> None:
    digest = hashlib.sha256(b"x").digest()
    assert record.encode_digest("sha256", digest) == hash_and_size(b"x")[0]
