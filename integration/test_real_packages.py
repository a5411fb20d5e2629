"""Packages that write into their own folder: not as links, but as real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from commonwheel.real_packages import REASONS
from environments import Environment, assert_untouched, store_contents
from wheelhouse import write_wheel
from workplace import Completed

NAME = "diary"
CODE = """
import os

FOLDER = os.path.dirname(os.path.abspath(__file__))

def download():
    os.mkdir(os.path.join(FOLDER, "downloads"))

def edit():
    with open(os.path.join(FOLDER, "pages.txt"), "a") as file:
        file.write("a page")
"""

Install = Callable[..., Completed]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a package that puts something new into its folder, and edits what came."""
    folder = tmp_path_factory.mktemp("wheels")
    files = {f"{NAME}/__init__.py": CODE, f"{NAME}/pages.txt": "one page"}
    return write_wheel(folder, NAME, "1.0", files)


@pytest.fixture(params=["commonwheel", "pip"])
def install(request: pytest.FixtureRequest, environment: Environment) -> Install:
    """Install a wheel, with the names of those that are to be real files."""

    def by_commonwheel(wheel: Path, *real: str) -> Completed:
        options = [each for name in real for each in ("--real", name)]
        command = (environment.python, "-m", "commonwheel", "install")
        return environment.run(*command, *options, wheel)

    def by_pip(wheel: Path, *real: str) -> Completed:
        options = [each for name in real for each in ("--shared-store-real", name)]
        return environment.install("--force-reinstall", *options, wheel)

    return {"commonwheel": by_commonwheel, "pip": by_pip}[request.param]


def as_somebody() -> tuple[str, ...]:
    """The start of a command line without what permission bits do not hold."""
    if os.geteuid() != 0:
        return ()
    privileges = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={privileges}", f"--inh-caps={privileges}")


def use(environment: Environment, what: str, *, user: tuple[str, ...]) -> str:
    """What goes wrong when the package does one of its things."""
    code = f"import {NAME}; {NAME}.{what}()"
    return environment.run(*user, environment.python, "-c", code, check=False).stderr


@pytest.mark.parametrize("what", ["download", "edit"])
def test_what_writes_into_its_own_folder_has_to_be_real_files(
    environment: Environment, wheel: Path, install: Install, what: str
) -> None:
    install(wheel)
    before = store_contents(environment.store)
    error = use(environment, what, user=as_somebody()).splitlines()
    assert any(line.startswith("PermissionError") for line in error)
    # the way out
    assert f"--shared-store-real {NAME} --force-reinstall --no-deps {NAME}" in error[-1]
    assert_untouched(environment.store, before)
    install(wheel, NAME)
    assert use(environment, what, user=as_somebody()) == ""
    assert_untouched(environment.store, before)


def test_who_may_write_anywhere_does_not_reach_the_store_from_real_files(
    environment: Environment, wheel: Path, install: Install
) -> None:
    install(wheel, NAME)
    before = store_contents(environment.store)
    for what in ("download", "edit"):
        assert use(environment, what, user=()) == ""
    assert_untouched(environment.store, before)


def test_what_is_known_not_to_work_as_links_needs_no_option(
    environment: Environment, tmp_path: Path, install: Install
) -> None:
    name, reason = next(iter(REASONS.items()))
    module = name.replace("-", "_")
    said = install(write_wheel(tmp_path, name, "1.0", {f"{module}/__init__.py": ""}))
    assert f"{name} is installed as real files: {reason}" in said.stdout + said.stderr
    assert (environment.site / module).is_dir()
