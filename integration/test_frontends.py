"""What README says to type, typed: each frontend on a project, with packages from PyPI.

A frontend's usual command fills an environment of the project; what it holds is linked,
the project's tests pass in it, the frontend finds it in order and uses it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI
from uv import find_uv_bin

from conftest import DEFAULT_PYTHON
from wheelhouse import Wheelhouse
from workplace import NAME, PAGES, Workplace, snippets

Take = Callable[..., Workplace]

EDITABLE = {NAME}
"""An editable installation belongs to one environment: it is not linked."""
BUILT = {NAME}
"""What uv itself has built is not linked, only what comes from an index."""

PDM = ("pdm==2.29.3", "hishel==1.2.1", "unearth==0.18.2")
"""With what pdm's own lock has; this pdm does not work with the newest of them."""


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pip's and uv's, for all workplaces: a file is downloaded once."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture
def take(tmp_path: Path, python: Path, wheelhouse: Wheelhouse, caches: Path) -> Take:
    """Take a workplace where some frontends are installed: ``take("nox")``."""

    def take_workplace(*frontends: str) -> Workplace:
        wheel = wheelhouse.commonwheel
        return Workplace.make(tmp_path, python, wheel, caches, frontends)

    return take_workplace


def test_each_snippet_is_run_and_the_pages_agree() -> None:
    shown = [snippets(page) for page in PAGES]
    assert all(shown)
    for name in {name for each in shown for name in each}:
        assert f"test_{name.replace('-', '_')}" in globals()
        assert len({each[name] for each in shown if name in each}) == 1


def test_pip(take: Take) -> None:
    place = take()
    place.type("pip")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    pip = environment / "bin/pip"
    with place.left_alone(environment):
        again = place.run(pip, "install", "--upgrade", "--group", "test")
    assert "Successfully installed" not in again.stdout


def test_pip_outside(take: Take) -> None:
    place = take()
    place.run("python", "-m", "venv", "--without-pip", ".venv")
    environment = place.project / ".venv"
    place.type("pip-outside")
    place.check(environment, copied=EDITABLE)
    place.test(environment)


@pytest.mark.parametrize("kind", ["of the system", "of an environment", "named"])
def test_a_pip_conf_of_a_team(kind: str, take: Take) -> None:
    place = take()
    place.run("pip", "install", "commonwheel")
    place.run("commonwheel", "venv", ".venv")
    environment = place.project / ".venv"
    system = place.root / "xdg"
    conf = {
        "of the system": system / "pip/pip.conf",
        "of an environment": environment / "pip.conf",
        "named": place.root / "team.conf",
    }[kind]
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("[install]\nuse-shared-store = true\n")
    place.variables["XDG_CONFIG_DIRS"] = str(system)
    place.variables.pop("PIP_CONFIG_FILE", None)
    if kind == "named":
        place.variables["PIP_CONFIG_FILE"] = str(conf)
    place.run(environment / "bin/pip", "install", "jinja2", "pyyaml")
    place.check(environment, copied=())


def test_virtualenv(take: Take) -> None:
    place = take("virtualenv")
    place.type("virtualenv")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)


def test_tox(take: Take) -> None:
    place = take("tox")
    place.type("tox")
    environment = place.project / ".tox/py"
    place.check(environment, copied=())
    place.test(environment)
    with place.left_alone(environment, but={NAME}):  # tox installs the project anew
        again = place.type("tox")
    assert "install_dependency-groups" not in again
    assert "install_package_deps" not in again


def test_tox_uv(take: Take) -> None:
    place = take("tox-uv")
    place.type("tox-uv")
    environment = place.project / ".tox/py"
    place.check(environment, copied=BUILT)
    place.test(environment)
    place.run("uv", "pip", "check", "--python", environment)
    with place.left_alone(environment):
        again = place.type("tox-uv")
    assert "install_dependency-groups" not in again
    assert "install_package_deps" not in again


def test_nox(take: Take) -> None:
    place = take("nox")
    place.type("nox")
    environment = place.project / ".nox/tests"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    with place.left_alone(environment):
        again = place.type("nox", last="nox --reuse-venv=yes")
    assert "Reusing existing virtual environment" in again


def test_nox_uv(take: Take) -> None:
    place = take("nox[uv]")
    place.type("nox-uv")
    environment = place.project / ".nox/tests"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    place.run("uv", "pip", "check", "--python", environment)
    with place.left_alone(environment):
        again = place.type(
            "nox-uv", last="nox --default-venv-backend uv --reuse-venv=yes"
        )
    assert "Reusing existing virtual environment" in again


def test_hatch(take: Take) -> None:
    place = take("hatch")
    place.type("hatch")
    environment = hatch_environment(place, "default")
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    with place.left_alone(environment):
        again = place.type("hatch")
    assert "Syncing" not in again


def test_hatch_uv(take: Take, python: Path) -> None:
    place = take("hatch")
    place.type("hatch-uv")
    environment = hatch_environment(place, f"hatch-test.py{DEFAULT_PYTHON}")
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    place.run("uv", "pip", "check", "--python", environment)
    with place.left_alone(environment):
        again = place.type("hatch-uv")
    assert "Syncing" not in again


def hatch_environment(place: Workplace, name: str) -> Path:
    """Where it is; hatch knows it."""
    assert name in json.loads(place.run("hatch", "env", "show", "--json").stdout)
    return Path(place.run("hatch", "env", "find", name).stdout.strip())


def test_pdm(take: Take) -> None:
    place = take(*PDM)
    place.give(find_uv_bin())
    place.type("pdm")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    place.run("uv", "pip", "check", "--python", environment)
    with place.left_alone(environment):
        place.type("pdm")


def test_pdm_export(take: Take) -> None:
    place = take(*PDM)
    place.type("pdm-export")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    with place.left_alone(environment):
        again = place.run("pdm", "install")
    assert "nothing to do" in again.stdout + again.stderr


def test_pre_commit(take: Take) -> None:
    place = take("pre-commit")
    hooks = place.root / "hooks"
    shutil.copytree(place.project, hooks)
    for folder in (hooks, place.project):
        place.commit(folder)
    place.run("git", "-C", hooks, "tag", "v1.0")
    assert "<b>Ada" in place.type("pre-commit")
    (environment,) = place.home.glob(".cache/pre-commit/repo*/py_env-*")
    place.check(environment, copied=())
    with place.left_alone(environment):
        again = place.type("pre-commit")
    assert "Installing environment" not in again


def test_poetry(take: Take) -> None:
    place = take("poetry", "poetry-plugin-export")
    # it asks PyPI by an interface that mirrors do not have, but any other index not
    index = place.variables.get("PIP_INDEX_URL", PyPI.simple_url)
    place.run("poetry", "source", "add", "--priority=primary", "index", index)
    place.run("poetry", "lock")
    place.type("poetry")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    place.run("poetry", "check")
    found = place.run("poetry", "env", "info", "--path").stdout.strip()
    assert Path(found) == environment
    with place.left_alone(environment):
        again = place.run("poetry", "sync")
    assert "No dependencies to install or update" in again.stdout


def test_uv(take: Take) -> None:
    place = take("uv")
    assert " passed" in place.type("uv")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    place.run("uv", "pip", "check")
    place.run("uv", "sync", "--check")
    with place.left_alone(environment):
        again = place.run("uv", "sync")
    assert "Installed" not in again.stderr


def test_uv_pip(take: Take) -> None:
    place = take("uv")
    place.type("uv-pip")
    environment = place.project / ".venv"
    place.check(environment, copied=EDITABLE)
    place.test(environment)
    place.run("uv", "pip", "check")
    with place.left_alone(environment):
        again = place.run("uv", "pip", "install", "--group", "test")
    assert "Installed" not in again.stderr


def test_pip_tools(take: Take) -> None:
    place = take("pip-tools")
    place.type("pip-tools")
    environment = place.project / ".venv"
    place.check(environment, copied=())
    lock = "requirements.txt"
    with place.left_alone(environment):
        synced = ("--python-executable", environment / "bin/python", lock)
        assert "up-to-date" in place.run("pip-sync", *synced).stdout
        again = place.run("commonwheel", "sync", "--python", environment, lock)
    assert "Nothing to do" in again.stderr
    place.run("pip", "--python", environment, "install", "--no-deps", "-e", ".")
    place.test(environment)


def test_pip_sync(take: Take) -> None:
    place = take("pip-tools")
    place.run("pip-compile", "requirements.in")
    place.run("python", "-m", "venv", ".venv")
    environment = place.project / ".venv"
    place.type("pip-sync")
    place.check(environment, copied={"pip"})  # which venv has copied
    with place.left_alone(environment):
        assert "up-to-date" in place.type("pip-sync")
    place.run("pip", "--python", environment, "install", "--no-deps", "-e", ".")
    place.test(environment)
