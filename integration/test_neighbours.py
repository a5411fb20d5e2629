"""Users of one machine, or one team, and what they cannot do to each other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commonwheel.files import remove_tree
from endurance import neighbours
from endurance.figures import Figure
from filesystems import require


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that others may enter, as those of pytest are private."""
    require("several users", "setpriv", "ldd", "mksquashfs")
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    remove_tree(made)


def hold(figures: list[Figure]) -> None:
    for each in figures:
        print(each)
        assert each.failed == 0, each
        assert each.tried > 0


def test_nobody_changes_what_is_anothers(folder: Path, python: Path) -> None:
    hold(neighbours.trespass(folder, python, entries=1))


def test_nobody_falls_for_what_a_member_of_the_team_can_put_up(
    folder: Path, python: Path
) -> None:
    hold(neighbours.traps(folder, python))


@pytest.mark.parametrize("what", [neighbours.unsafe, neighbours.read_only])
def test_stores(
    folder: Path, python: Path, what: Callable[[Path, Path], list[Figure]]
) -> None:
    hold(what(folder, python))
