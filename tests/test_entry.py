"""What entry.json says is read as it was written, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commonwheel import entry as entries
from commonwheel.entry import Description
from entries import make_entry


@pytest.fixture
def description(tmp_path: Path) -> Description:
    return make_entry(
        tmp_path,
        "one",
        {"p/__init__.py": "", "one.pth": ""},
        scripts={"one": "p:main"},
        data={"share/x": ""},
        beside=("n/b/lib",),
        above=("$ORIGIN/../../../lib",),
    ).description


def test_round_trip(description: Description) -> None:
    assert entries.decode(entries.encode(description)) == description


def test_what_a_later_version_adds_is_passed_over(description: Description) -> None:
    fields = json.loads(entries.encode(description))
    assert entries.decode(json.dumps({**fields, "more": 1})) == description


def test_every_field_is_needed(description: Description) -> None:
    fields = json.loads(entries.encode(description))
    for key in fields.keys() - {"remarks"}:
        damaged = json.dumps({k: v for k, v in fields.items() if k != key})
        with pytest.raises(ValueError, match=f"damaged: KeyError.'{key}'"):
            entries.decode(damaged)


def test_entries_from_before_there_were_remarks(description: Description) -> None:
    fields = json.loads(entries.encode(description))
    assert fields.pop("remarks") == []
    assert entries.decode(json.dumps(fields)) == description


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"format": 1, "real": [1]}'])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        entries.decode(text)
    with pytest.raises(ValueError, match="a newer commonwheel wrote it"):
        entries.decode('{"format": 2}')
