"""Commands that are killed, or fail, before and in any change that they make.

More of it by ``python -m endurance``.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from conftest import Make
from endurance import crashes, scenes
from endurance.figures import Figure, table
from environments import Environment, run
from workplace import Completed

STATES = 80
CALLS = 20
PIPS = 5
NAMES = ("sample-bulk", "sample-ns-one", "sample-data", "sample-overlap-two")
PUBLISHING = ("rename", "renameat2", "symlink", "syncfs", "fsync", "mkdir")
"""System calls that bring something to where it is found."""


def held(figures: list[Figure]) -> int:
    """How many accidents there were, after all of which everything held."""
    print(table(figures))
    assert [each for each in figures if each.failed] == []
    return sum(each.tried for each in figures)


@pytest.mark.parametrize("nobody", [False, True], ids=["root", "not root"])
def test_whatever_is_stopped_nothing_is_half(nobody: bool) -> None:
    assert held([*crashes.crashes(STATES, nobody=nobody)]) >= STATES * 0.8


def test_on_an_overlay_of_two_filesystems() -> None:
    acts = (scenes.INSTALL, scenes.UPGRADE, scenes.UNINSTALL)
    assert held([*crashes.crashes(STATES, layered=True, acts=acts)]) >= STATES * 0.8


def test_in_single_system_calls() -> None:
    assert held([*crashes.system_calls(CALLS)]) == CALLS


def test_pip_that_is_killed_and_run_again(
    make: Make, python: Path, tmp_path: Path
) -> None:
    scenes.write_wheels(tmp_path / "wheels", python)
    environment = make()
    kept = tmp_path / "kept"
    run(["cp", "-a", environment.path, kept])
    listed = tmp_path / "calls"
    done = traced(environment, *crashes.listing(listed, PUBLISHING))
    assert done.returncode == 0, done.stderr
    wanted = environment.tree()
    calls = [*crashes.calls_in(listed, f"{tmp_path}/")]
    assert {name for name, _ in calls} >= {"renameat2", "syncfs", "symlink"}
    for name, number in random.Random(0).sample(calls, PIPS):
        run(["rm", "-rf", environment.path, environment.store])
        run(["cp", "-a", kept, environment.path])
        inject = f"inject={name}:signal=KILL:when={number}"
        done = traced(environment, "-o", "/dev/null", "-e", inject)
        assert done.returncode != 0, f"{name} {number} was not reached"
        assert not scenes.not_importable(environment.path, environment.variables)
        if (environment.store / "format").exists():
            environment.run(environment.python, "-m", "commonwheel", "verify")
        environment.install(*NAMES, wheels=tmp_path / "wheels")
        assert environment.tree() == wanted, f"{name} {number}"
        subject = (environment.path, "--store", environment.store)
        environment.run(environment.python, "-m", "commonwheel", "verify", *subject)


def traced(environment: Environment, *options: object) -> Completed:
    """``pip install --use-shared-store`` below strace."""
    command = ("-m", "pip", "install", "--use-shared-store", "--no-index")
    found = ("--find-links", environment.path.parent / "wheels", *NAMES)
    line = (*crashes.STRACE, *options, environment.python, *command, *found)
    return environment.run(*line, check=False)


@pytest.mark.parametrize("broken", ["entry", "environment"])
def test_what_is_published_before_it_is_whole_is_found(broken: str) -> None:
    """Else nothing of this would say anything."""
    control = {"entry": "entries first", "environment": "metadata first"}[broken]
    assert broken in crashes.broken_by(control, scenes.INSTALL, 16)
