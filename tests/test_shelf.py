"""The shelf: an entry is complete, on the disk too, before it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from commonwheel import files
from commonwheel.disposal import Disposal
from commonwheel.shelf import Shelf
from disk import watched
from entries import write

ENTRY = "one-1.0-00000000"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name in ("entries", "unused", "trash"):
        (tmp_path / "store" / name).mkdir(parents=True)
    return tmp_path / "store"


@pytest.fixture
def shelf(store: Path) -> Shelf:
    return Shelf(store / "entries", is_shared=False)


@pytest.fixture
def made(store: Path) -> Path:
    write(store / "made", {"entry.json": "{}", "tree/p/a.py": "a = 1"})
    return store / "made"


def test_an_entry_is_on_the_disk_before_its_name_which_is_before_anybody_is_told(
    tmp_path: Path, shelf: Shelf, made: Path
) -> None:
    with watched(tmp_path) as disk:
        published = shelf.publish(made, ENTRY)
    assert published == shelf.folder_of(ENTRY)
    assert disk.lost(published) == disk.early == []
    assert disk.untold == set()


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_so_is_one_that_takes_the_place_of_another(
    tmp_path: Path,
    store: Path,
    shelf: Shelf,
    made: Path,
    there: bool,
    exchange: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "exchange", lambda *_: False)
    if there:
        write(shelf.folder_of(ENTRY), {"entry.json": "old"})
    folders = (store / name for name in ("entries", "unused", "trash"))
    with watched(tmp_path) as disk:
        published = shelf.replace(made, ENTRY, Disposal(*folders))
    assert (published / "entry.json").read_text() == "{}"
    assert disk.lost(published) == []
    assert [each for each in disk.early if each.is_relative_to(published)] == []
    assert store / "entries" not in disk.untold
