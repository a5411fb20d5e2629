"""A crowd at one store; :mod:`endurance.crowd` says what has to hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from endurance.crowd import WORKERS, crowd
from endurance.figures import table

SECONDS = 60.0 if os.environ.get("CI") else 15.0


def test_a_crowd_gets_what_it_asks_for_and_the_store_stays_whole(tmp_path: Path) -> None:
    figures = crowd(SECONDS, tmp_path, workers=WORKERS)
    print(table(figures))
    assert not [each for each in figures if each.failed]


@pytest.mark.parametrize("mechanism", ["the shared lock", "the lock of a wheel"])
def test_a_crowd_misses_what_it_is_kept_apart_by(tmp_path: Path, mechanism: str) -> None:
    """The negative control: it ends as soon as something has gone wrong."""
    figures = crowd(120, tmp_path, workers=10, without=mechanism)
    assert [each for each in figures if each.failed]
