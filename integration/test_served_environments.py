"""Environments that a commonwheel outside of them serves: made, enabled, or named.

Nothing of commonwheel, nor of what it needs, is in them, and their Python is another.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import interpreters
from environments import Environment, Templates
from wheelhouse import NEWEST_PIP, PIPS, Wheelhouse, write_wheel

Make = Callable[..., Environment]

NEEDS = ("commonwheel", "filelock", "installer", "packaging", "platformdirs", "rich")
PYTHONS = ("3.9", "3.10", "3.13")
"""Of environments; commonwheel itself runs on another one."""


@pytest.fixture
def host(make: Make, wheelhouse: Wheelhouse) -> Environment:
    """Where commonwheel is installed; its pip finds wheels in a folder."""
    host = make("host")
    host.variables["PIP_NO_INDEX"] = "1"
    host.variables["PIP_FIND_LINKS"] = str(wheelhouse.folder)
    return host


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(
        tmp_path / "wheels",
        "served",
        "1.0",
        {"served.py": "def main():\n    print('served')\n"},
        entry_points="[console_scripts]\nserved = served:main\n",
    )


def commonwheel(host: Environment, *arguments: object, **kwargs: object) -> str:
    """What the command says on standard error."""
    command = host.path / "bin/commonwheel"
    return host.run(command, *arguments, **kwargs).stderr  # type: ignore[arg-type]


def served_by(host: Environment, name: str) -> Environment:
    """The environment ``name`` beside ``host``, whose variables it is used with."""
    return Environment(host.path.with_name(name), host.store)


def check_served(environment: Environment, wheel: Path) -> None:
    """Its pip links, and nothing of commonwheel can be seen in it."""
    environment.install(wheel)
    assert environment.is_linked("served")
    assert environment.run(environment.path / "bin/served").stdout == "served\n"
    assert not any(environment.can_import(name) for name in NEEDS)
    assert not set(NEEDS) & set(environment.installed())
    environment.pip("uninstall", "-y", "served")
    assert not environment.can_import("served")
    assert not (environment.path / "bin/served").exists()


@pytest.mark.parametrize("version", PYTHONS)
def test_a_new_environment_has_a_linked_pip_that_knows_the_store(
    version: str, host: Environment, wheel: Path
) -> None:
    python = interpreters.require(version)
    said = commonwheel(host, "venv", "--python", python, host.path.with_name("new"))
    assert said.endswith("ready\n")
    environment = served_by(host, "new")
    assert environment.is_linked("pip")
    assert set(environment.installed()) == {"pip"}
    check_served(environment, wheel)
    commonwheel(host, "doctor", environment.path)
    # with the pip of the store, nothing is fetched and pip is not even started
    elsewhere = {"PIP_FIND_LINKS": os.devnull}
    commonwheel(host, "venv", "--clear", environment.path, variables=elsewhere)


def test_without_an_index_pip_is_the_one_that_python_brings_along(
    host: Environment,
) -> None:
    python = interpreters.require("3.13")
    nowhere = {"PIP_FIND_LINKS": os.devnull}
    new = host.path.with_name("new")
    commonwheel(host, "venv", "--python", python, new, variables=nowhere)
    assert served_by(host, "new").pip("--version").stdout.startswith("pip 24.")


def test_ask_21_an_environment_is_made_without_ensurepip(
    host: Environment, wheel: Path, tmp_path: Path, python: Path
) -> None:
    # as Debian's python3 is without python3-venv
    code = "import ensurepip; print(ensurepip.__path__[0])"
    folder = host.run(python, "-c", code).stdout.strip()

    def without_it(*command: object, check: bool) -> int:
        hidden = f'mount -t tmpfs none {folder} && exec "$@"'
        shell = ("unshare", "-m", "sh", "-c", hidden, "sh")
        return host.run(*shell, *command, check=check).returncode

    assert without_it(python, "-m", "venv", tmp_path / "plain", check=False) != 0
    new = host.path.with_name("new")
    command = (host.path / "bin/commonwheel", "venv", "--python", python, new)
    assert without_it(*command, check=True) == 0
    check_served(served_by(host, "new"), wheel)


def test_an_environment_that_cannot_be_made_leaves_nothing(host: Environment) -> None:
    new = host.path.with_name("new")
    answer = host.run(
        *(host.path / "bin/commonwheel", "venv", "--python", interpreters.require("3.8")),
        new,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "3.8" in answer.stderr
    assert "too old" in answer.stderr
    assert not new.exists()


def test_a_folder_with_something_in_it_is_not_touched(
    host: Environment, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("...")
    command = (host.path / "bin/commonwheel", "venv", tmp_path / "mine")
    answer = host.run(*command, check=False)
    assert answer.returncode == 1
    assert "--clear" in answer.stderr
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


@pytest.mark.parametrize(
    ("pip", "version"),
    [("22.3", "3.9"), ("23.2", "3.9"), ("24.0", "3.12"), ("25.3", "3.13")],
)
def test_an_environment_that_exists_is_enabled(
    pip: str, version: str, host: Environment, templates: Templates, wheel: Path
) -> None:
    path = host.path.with_name("plain")
    python = interpreters.require(version)
    plain = templates.make(path, python, pip, store=host.store, commonwheel=False)
    before = set(plain.installed())
    commonwheel(host, "enable", path)
    assert set(plain.installed()) == before
    check_served(plain, wheel)
    commonwheel(host, "enable", path)  # again changes nothing
    check_served(plain, wheel)


def test_pip_is_put_back_when_the_store_is_gone(host: Environment, wheel: Path) -> None:
    commonwheel(host, "venv", host.path.with_name("new"))
    environment = served_by(host, "new")
    environment.install(wheel)
    subprocess.run(["chmod", "-R", "u+w", host.store], check=True)
    shutil.rmtree(host.store)
    answer = environment.pip("list", check=False)
    assert f"commonwheel enable {environment.path}" in answer.stderr
    commonwheel(host, "enable", environment.path)
    environment.install("--force-reinstall", wheel)
    check_served(environment, wheel)
    commonwheel(host, "doctor", environment.path)


def test_without_its_commonwheel_an_environment_says_how_to_get_another(
    host: Environment, wheel: Path
) -> None:
    commonwheel(host, "venv", host.path.with_name("new"))
    environment = served_by(host, "new")
    shutil.rmtree(host.path)
    answer = environment.install(wheel, check=False)
    assert answer.returncode == 1
    assert f"`commonwheel enable {environment.path}`" in answer.stderr
    assert "Traceback" not in answer.stderr
    environment.install(wheel, linked=False)
    assert environment.can_import("served")


# pip 22.3 knows no --python when it runs on Python 3.12
@pytest.mark.parametrize("pip", PIPS[1:])
def test_pip_links_into_the_environment_that_it_is_told(
    pip: str, make: Make, wheel: Path, python: Path
) -> None:
    host = make("host", pip=pip)
    path = host.path.with_name("bare")
    subprocess.run([python, "-m", "venv", "--without-pip", path], check=True)
    bare = served_by(host, "bare")
    options = ("--use-shared-store", "--no-index")
    host.pip("--python", path, "install", *options, wheel)
    assert bare.is_linked("served")
    assert not host.is_linked("served")
    assert bare.run(path / "bin/served").stdout == "served\n"
    assert not any(bare.can_import(name) for name in NEEDS)
    host.pip("--python", path, "uninstall", "-y", "served")
    assert not bare.can_import("served")


@pytest.mark.parametrize("version", ["3.8", *PYTHONS])
def test_pip_links_into_an_environment_of_another_python(
    version: str, make: Make, wheel: Path
) -> None:
    host = make("host", pip="24.0" if version in ("3.8", "3.9") else NEWEST_PIP)
    path = host.path.with_name("bare")
    python = interpreters.require(version)
    subprocess.run([python, "-m", "venv", "--without-pip", path], check=True)
    bare = served_by(host, "bare")
    options = ("--use-shared-store", "--no-index")
    answer = host.pip("--python", path, "install", *options, wheel)
    if version == "3.8":
        assert "3.8" in answer.stderr
        assert "packages are copied" in answer.stderr
        assert (bare.site / "served.py").is_file()
    else:
        assert bare.is_linked("served")
