"""Power cuts on ext4, xfs and btrfs: a few here, more by ``python -m endurance``."""

from __future__ import annotations

import pytest

from endurance import power_cuts, scenes
from endurance.figures import Figure, table
from endurance.power_cuts import NAMES, NOT_INLINE, Cut
from filesystems import EXT4, Kind

STATES = 50


@pytest.fixture(params=power_cuts.KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def held(figures: list[Figure]) -> int:
    """How many states there were, in all of which everything held."""
    print(table(figures))
    assert [each for each in figures if each.failed] == []
    return sum(each.tried for each in figures)


def test_whenever_the_power_goes_nothing_is_half(kind: Kind) -> None:
    assert held([*power_cuts.power_cuts(kind, STATES)]) == STATES


def test_between_two_distributions_that_are_made_known_too(kind: Kind) -> None:
    """What is exchanged is another folder for each filesystem; there are few moments."""
    act = scenes.REPAIR_ENVIRONMENT
    with power_cuts.power_cuts_on(kind, acts=(act,)) as made:
        changes = made.expected[act].operations
        known = [n for n, each in enumerate(changes) if each.endswith(".dist-info")]
        assert len(known) >= 3
        for number in known:
            assert made.meet(Cut(act, NAMES, number + 1)) == []


@pytest.mark.parametrize("kind", [EXT4, NOT_INLINE], ids=lambda kind: kind.name)
def test_also_if_store_and_environment_are_on_two_disks(kind: Kind) -> None:
    acts = (scenes.INSTALL, scenes.UPGRADE)
    assert held([*power_cuts.power_cuts(kind, 10, apart=True, acts=acts)]) == 10


def test_without_sync_it_would_not_hold(kind: Kind) -> None:
    """Else nothing of this would say anything.

    Of an environment on btrfs nothing breaks: what was written aside is on the disk when
    the stage is given up, and is taken back before.
    """
    broken = power_cuts.broken_by("without sync", kind, 30 if kind == NOT_INLINE else 60)
    assert broken >= {"entry"}
    assert "environment" in broken or kind == NOT_INLINE
