"""virtualenv with the seeder ``commonwheel``: what it makes, and what is seen inside."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import interpreters
from environments import quiet_variables, run
from wheelhouse import Wheelhouse

SEEDER = ("--seeder", "commonwheel")


@dataclass
class Virtualenv:
    """virtualenv, with commonwheel beside it."""

    host: Path
    variables: dict[str, str]
    folder: Path

    def make(
        self, *arguments: object, name: str = "environment", **variables: str
    ) -> tuple[Seeded, subprocess.CompletedProcess[str]]:
        path = self.folder / name
        env = {**self.variables, **variables}
        done = run([self.host / "bin/virtualenv", *arguments, path], env=env)
        return Seeded(path, self.variables), done


@dataclass
class Seeded:
    """What it has made."""

    path: Path
    variables: dict[str, str]

    @property
    def site(self) -> Path:
        (found,) = (self.path / "lib").glob("python*/site-packages")
        return found

    @property
    def linked(self) -> set[str]:
        return {each.stem for each in self.site.glob("_commonwheel/links/*.link")}

    @property
    def scripts(self) -> set[str]:
        """Scripts of distributions, not virtualenv's own."""
        names = {each.name for each in (self.path / "bin").iterdir()}
        return {name for name in names if name.startswith(("pip", "easy"))}

    def python(self, *arguments: object, **variables: str) -> str:
        command = [self.path / "bin/python", *arguments]
        return run(command, env={**self.variables, **variables}).stdout

    def listed(self) -> dict[str, str]:
        rows = json.loads(self.python("-m", "pip", "list", "--format=json"))
        return {row["name"]: row["version"] for row in rows}

    def json(self, code: str) -> Any:
        return json.loads(self.python("-c", f"import json; {code}"))


@pytest.fixture(scope="session")
def host(
    tmp_path_factory: pytest.TempPathFactory, python: Path, wheelhouse: Wheelhouse
) -> Path:
    """An environment with virtualenv and commonwheel, of one Python."""
    path = tmp_path_factory.mktemp("ours") / "host"
    run([python, "-m", "venv", path])
    install = [path / "bin/pip", "install", "--find-links", wheelhouse.folder]
    run([*install, "virtualenv", wheelhouse.commonwheel])
    return path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with virtualenv's cache, and a store."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def virtualenv(
    tmp_path: Path, host: Path, home: Path, wheelhouse: Wheelhouse
) -> Virtualenv:
    variables = quiet_variables(home)
    variables |= {
        "COMMONWHEEL_STORE": str(home / "store"),
        "PIP_FIND_LINKS": str(wheelhouse.folder),
        "PIP_NO_INDEX": "1",
        "VIRTUALENV_EXTRA_SEARCH_DIR": str(wheelhouse.folder),
    }
    return Virtualenv(host, variables, tmp_path)


@pytest.mark.parametrize("version", ["3.9", "3.12", "3.13"])
def test_ask_22_virtualenv_links_pip_whichever_python_commonwheel_has(
    virtualenv: Virtualenv, version: str
) -> None:
    python = interpreters.require(version)
    made, done = virtualenv.make(
        "-p", python, "--setuptools", "bundle", VIRTUALENV_SEEDER="commonwheel"
    )
    assert "copied" not in done.stdout + done.stderr
    assert made.linked == made.listed().keys() == {"pip", "setuptools"}
    assert made.scripts == {"pip", "pip3", f"pip{version}"}
    pip = [made.path / "bin" / f"pip{version}", "install"]
    run([*pip, "--use-shared-store", "six"], env=made.variables)
    run([*pip, "idna"], env=made.variables)
    assert made.linked == {"pip", "setuptools", "six"}
    made.python("-c", "import setuptools, distutils.core, pip, six, idna")
    doctor = [virtualenv.host / "bin/commonwheel", "doctor", made.path]
    assert "nothing is wrong" in run(doctor, env=made.variables).stderr


def test_nothing_of_commonwheel_is_seen_inside(virtualenv: Virtualenv) -> None:
    made, _ = virtualenv.make(*SEEDER)
    plain, _ = virtualenv.make(name="plain")
    of_commonwheel = (
        "commonwheel",
        "filelock",
        "installer",
        "packaging",
        "platformdirs",
        "rich",
    )
    find = f"from importlib.util import find_spec; names = {of_commonwheel}; "
    assert made.json(f"{find}print(json.dumps([*map(find_spec, names)]))") == [None] * 6
    assert made.listed() == plain.listed()
    distributions = (
        "from importlib.metadata import distributions, packages_distributions as p; "
        "print(json.dumps([sorted(d.name for d in distributions()), sorted(p())]))"
    )
    assert made.json(distributions) == plain.json(distributions)
    # What starts with the interpreter: the runtime alone, and it is compiled.
    started = "import sys; print(json.dumps(sorted(sys.modules)))"
    assert {*made.json(started)} - {*plain.json(started)} == {"_commonwheel", "atexit"}
    cached = made.python("-c", "import _commonwheel; print(_commonwheel.__cached__)")
    assert Path(cached.strip()).exists()
    ways = made.json("import sys; print(json.dumps(sys.path))")
    assert not [each for each in ways if each.startswith(str(virtualenv.host))]


def test_what_virtualenv_is_asked_for_is_what_there_is(virtualenv: Virtualenv) -> None:
    for arguments, expected, scripts in (
        ((), {"pip"}, {"pip", "pip3", "pip3.12"}),
        (("--symlink-app-data",), {"pip"}, {"pip", "pip3", "pip3.12"}),
        (("--creator", "venv"), {"pip"}, {"pip", "pip3", "pip3.12"}),
        (("--pip", "24.0"), {"pip"}, {"pip", "pip3", "pip3.12"}),
        (("--no-pip", "--setuptools", "bundle"), {"setuptools"}, set()),
        (("--no-pip",), set(), set()),
        (("--no-seed",), set(), set()),
    ):
        # each over the one before
        made, _ = virtualenv.make(*SEEDER, "--clear", *arguments)
        assert (made.linked, made.scripts) == (expected, scripts), arguments
        if "pip" in expected:
            assert "--use-shared-store" in made.python("-m", "pip", "install", "--help")
            assert made.listed().keys() == expected
        if "24.0" in arguments:
            assert made.listed() == {"pip": "24.0"}


def test_an_environment_that_is_there_is_seeded_again(virtualenv: Virtualenv) -> None:
    """Whoever has seeded it, and whatever it has; also by virtualenv's own seeder."""
    plain, _ = virtualenv.make(name="plain")
    files = {path.name for path in plain.site.iterdir()}
    virtualenv.make("--pip", "24.0")
    for arguments in (SEEDER, (*SEEDER, "--pip", "24.0"), SEEDER, SEEDER):
        made, _ = virtualenv.make(*arguments)
        assert made.linked == {"pip"}
        assert len([*made.site.glob("pip*")]) == 1
        assert made.scripts == {"pip", "pip3", "pip3.12"}
        version = "24.0" if "24.0" in arguments else plain.listed()["pip"]
        assert made.listed() == {"pip": version}
    made, _ = virtualenv.make()
    assert made.linked == set()
    assert made.listed() == plain.listed()
    assert {each for each in files if each.startswith("pip")} <= set(
        os.listdir(made.site)
    )
    assert not os.listdir(made.site / "_commonwheel/links")


def test_pip_can_be_upgraded_and_removed_as_ever(virtualenv: Virtualenv) -> None:
    made, _ = virtualenv.make(*SEEDER, "--pip", "24.0")
    on = {"PIP_USE_SHARED_STORE": "1"}
    made.python("-m", "pip", "install", "pip==25.3", **on)
    assert (made.listed(), made.linked) == ({"pip": "25.3"}, set())
    made.python("-m", "pip", "install", "six", **on)
    assert made.linked == {"six"}
    made.python("-m", "pip", "uninstall", "-y", "six", "pip")
    assert not [*made.site.glob("pip*"), *made.site.glob("six*")]
    assert made.scripts == set()


def test_the_seed_packages_are_copied_when_they_cannot_be_linked(
    virtualenv: Virtualenv, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    variables = {"COMMONWHEEL_STORE": str(tmp_path / "file/store")}
    made, done = virtualenv.make(*SEEDER, **variables)
    (warning,) = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if "the seed packages are copied" in line
    ]
    assert str(tmp_path / "file/store") in warning
    assert (made.linked, *made.listed()) == (set(), "pip")


def test_the_store_is_the_one_that_the_environments_pip_uses(
    virtualenv: Virtualenv, tmp_path: Path
) -> None:
    variables = {"PIP_SHARED_STORE_PATH": str(tmp_path / "store")}
    made, _ = virtualenv.make(*SEEDER, **variables)
    made.python("-m", "pip", "install", "--use-shared-store", "six", **variables)
    assert made.linked == {"pip", "six"}
    assert len(os.listdir(tmp_path / "store/entries")) == 2
