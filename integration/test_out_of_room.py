"""Out of room, of rights, of memory, and told to stop at any point.

A few of the cases of :mod:`endurance.room`, which says what has to hold.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from endurance import room
from endurance.figures import Figure

_VERBS = {verb.name: verb for verb in room.VERBS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that everybody may look into."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o755)
    return tmp_path


def _held(figures: Iterable[Figure]) -> None:
    found = list(figures)
    assert found
    assert all(each.tried for each in found)
    assert not [each for each in found if each.failed]


@pytest.mark.parametrize("name", _VERBS)
def test_told_to_stop_at_any_point(folder: Path, name: str) -> None:
    stop = signal.SIGTERM if name in ("sync", "uninstall") else signal.SIGINT
    _held(room.interruptions(folder, 4, [_VERBS[name]], [stop]))


@pytest.mark.parametrize("name", ["upgrade", "verify"])
def test_not_enough_memory_or_files(folder: Path, name: str) -> None:
    _held(room.limits(folder, 3, [name]))


def test_no_processes_and_killed_compilers(folder: Path) -> None:
    _held(room.processes(folder, 2))


@pytest.mark.parametrize("name", ["upgrade", "gc", "export"])
def test_no_room_and_no_inodes(folder: Path, name: str) -> None:
    _held(room.full(folder, 3, [name]))


def test_no_rights(folder: Path) -> None:
    _held(room.rights(folder, ["upgrade"]))
