"""Disposal: what is unused is noted, taken back, or taken out as a whole."""

from __future__ import annotations

import os
import time

import pytest

from commonwheel.store import Store
from occupants import pass_time, put


@pytest.fixture
def one(store: Store) -> str:
    with store.in_use():
        return put(store, "one")


def test_a_store_that_is_not_there_has_nothing_unused(store: Store) -> None:
    assert store.disposal.unused() == {}
    assert store.disposal.trash() == []


def test_what_is_noted_has_the_time_of_the_filesystem(store: Store, one: str) -> None:
    before = store.disposal.now()
    store.disposal.note(one)
    after = store.disposal.now()
    assert before <= store.disposal.unused()[one] <= after
    assert abs(after - time.time()) < 60
    assert os.listdir(store.root / "trash") == []


def test_taking_back_is_of_what_is_named(store: Store, one: str) -> None:
    with store.in_use():
        two = put(store, "two")
    for each in (one, two):
        store.disposal.note(each)
    pass_time(store, 100)
    since = store.disposal.unused()[two]
    store.disposal.take_back([one, "another"])
    assert store.disposal.unused() == {two: since}


def test_what_is_taken_out_is_complete_elsewhere_and_not_noted(
    store: Store, one: str
) -> None:
    store.disposal.note(one)
    buried = store.disposal.take_out(one)
    assert store.identifiers() == []
    assert store.disposal.unused() == {}
    assert store.disposal.trash() == [buried]
    assert (buried / "tree/one.py").is_file()
    # the same name can come, and go, again
    with store.in_use():
        put(store, "one")
    assert store.disposal.take_out(one) != buried


def test_what_cannot_be_taken_out_is_as_it_was(store: Store, one: str) -> None:
    store.disposal.note(one)
    (store.root / "trash").rmdir()
    with pytest.raises(OSError, match="trash"):
        store.disposal.take_out(one)
    assert store.identifiers() == [one]
    assert list(store.disposal.unused()) == [one]
