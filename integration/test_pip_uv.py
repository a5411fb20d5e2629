"""What pip has linked, in the hands of uv: the other installer that people mix with pip.

uv knows nothing of commonwheel, so all that it goes by is ``RECORD``.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from environments import assert_untouched, store_contents
from neighbourhood import NEIGHBOURS, Stage, check, put
from wheelhouse import NEWEST_PIP

pytestmark = pytest.mark.parametrize("prepared", [NEWEST_PIP], indirect=True)


OWN = {".lock"}
"""uv's own file: one uv at a time changes an environment."""


def _uv(stage: Stage, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = stage.environment
    verb, *others = arguments
    return environment.run(
        *(sys.executable, "-m", "uv", "pip", verb),
        *("--python", environment.python, *others),
    )


def _uv_install(stage: Stage, version: str, *options: str) -> None:
    offline = ("--no-index", "--find-links", stage.wheels)
    _uv(stage, "install", *offline, *options, f"subject=={version}")


def _check_nothing_left(stage: Stage) -> None:
    _uv(stage, "uninstall", "subject", *NEIGHBOURS)
    assert stage.environment.leftovers(stage.before) == OWN


def test_uv_lists_linked_distributions(stage: Stage) -> None:
    put(stage, "1.0", linked=True)
    listed = json.loads(_uv(stage, "list", "--format=json").stdout)
    versions = {row["name"]: row["version"] for row in listed}
    installed = stage.environment.installed().items()
    assert versions == {name.lower(): version for name, version in installed}
    assert "near-module==1.0" in _uv(stage, "freeze").stdout.splitlines()
    shown = _uv(stage, "show", "--files", "subject").stdout
    assert "Version: 1.0" in shown
    assert "subject/part/__init__.py" in shown
    _uv(stage, "check")


def test_uv_uninstalls_one_and_leaves_its_neighbours_alone(stage: Stage) -> None:
    put(stage, "1.0", linked=True)
    stored = store_contents(stage.environment.store)
    _uv(stage, "uninstall", "subject")
    check(stage, None)
    _check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


REPLACEMENTS = {
    "upgrade": ("1.0", "2.0", "--upgrade"),
    "downgrade": ("2.0", "1.0"),
    "reinstall": ("1.0", "1.0", "--reinstall"),
    "reinstall by name": ("1.0", "1.0", "--reinstall-package=subject"),
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_uv_replaces_a_linked_distribution(replacement: str, stage: Stage) -> None:
    first, then, *options = REPLACEMENTS[replacement]
    put(stage, first, linked=True)
    stored = store_contents(stage.environment.store)
    _uv_install(stage, then, *options)
    check(stage, then, linked=False)
    # and pip links it again
    put(stage, first, "--force-reinstall", linked=True)
    check(stage, first)
    _check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


def test_uv_takes_a_linked_distribution_for_installed(stage: Stage) -> None:
    stage.environment.install("subject==1.0", wheels=stage.wheels)
    before = stage.environment.tree()
    _uv_install(stage, "1.0")
    now = stage.environment.tree()
    assert {path: kind for path, kind in now.items() if path not in OWN} == before
    check(stage, "1.0")


@pytest.mark.parametrize("mode", ["clone", "copy", "hardlink", "symlink"])
def test_what_uv_has_installed_can_be_linked_over_and_back(
    mode: str, stage: Stage
) -> None:
    _uv_install(stage, "1.0", "--link-mode", mode)
    cached = store_contents(stage.environment.home / "uv")
    put(stage, "2.0", linked=True)
    check(stage, "2.0")
    _uv_install(stage, "1.0", "--link-mode", mode)
    check(stage, "1.0", linked=False)
    assert store_contents(stage.environment.home / "uv") == cached


def test_uv_uninstalls_a_distribution_whose_entry_is_missing(stage: Stage) -> None:
    put(stage, "1.0", linked=True)
    environment = stage.environment
    environment.store.rename(environment.store.with_name("lost"))
    try:
        _uv(stage, "uninstall", "subject", *NEIGHBOURS)
    finally:
        environment.store.with_name("lost").rename(environment.store)
    assert environment.leftovers(stage.before) == OWN
