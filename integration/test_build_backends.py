"""Build backends work in linked build environments, and what they install fits in."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

import labour
from conftest import Compare
from environments import Environment, Templates, run
from labour import PROBES
from pairs import Pair
from wheelhouse import NEWEST_PIP, Wheelhouse

EXTENSIONS = Path(__file__).with_name("extension_projects")
"""Projects with a module in C or C++, each named after its build backend."""
REQUIREMENTS = (
    *("setuptools", "Cython", "numpy", "pybind11"),
    *("scikit-build-core", "cmake", "ninja", "meson-python"),
    *("hatchling", "editables"),
)


@pytest.fixture(scope="module")
def wheels(
    tmp_path_factory: pytest.TempPathFactory, python: Path, wheelhouse: Wheelhouse
) -> Path:
    """The newest release of every backend and of what it needs."""
    folder = tmp_path_factory.mktemp("backends")
    pip = (python, wheelhouse.pip(NEWEST_PIP) / "pip", "-q")
    run([*pip, "download", "--only-binary", ":all:", "-d", folder, *REQUIREMENTS])
    labour.write_wheels(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all tests, so that wheels are unpacked once."""
    return tmp_path_factory.mktemp("shared") / "store"


@pytest.fixture
def pair(
    tmp_path: Path, templates: Templates, python: Path, wheels: Path, store: Path
) -> Pair:
    """Two environments with pip; commonwheel is in one of them."""

    def make(name: str, *, commonwheel: bool) -> Environment:
        path = tmp_path / name / "environment"
        return templates.make(
            path, python, NEWEST_PIP, store=store, commonwheel=commonwheel
        )

    plain, linked = make("plain", commonwheel=False), make("linked", commonwheel=True)
    parsed = [parse_wheel_filename(wheel.name) for wheel in wheels.iterdir()]
    versions = {canonicalize_name(name): str(version) for name, version, *_ in parsed}
    return Pair(plain, linked, wheels, versions)


def install(pair: Pair, environment: Environment, *arguments: object) -> None:
    """As a user does it, who has switched the shared store on or has not."""
    linked = environment is pair.linked
    options = {"wheels": pair.wheels, "linked": linked}
    quick = {"CFLAGS": "-O0", "CXXFLAGS": "-O0", "PIP_NO_COMPILE": "1"}
    environment.install(*arguments, variables=quick, **options)


USES = {
    "setuptools": (
        "import by_setuptools, by_setuptools_too, numpy\n"
        "print(by_setuptools.total(numpy.arange(5)), by_setuptools_too.twice(4))"
    ),
    "scikit-build-core": "import by_scikit_build_core as it; print(it.twice(4))",
    "meson-python": (
        "import by_meson_python, numpy\nprint(by_meson_python.size(numpy.zeros((3, 4))))"
    ),
}
ANSWERS = {"setuptools": "10 8", "scikit-build-core": "8", "meson-python": "12"}


@pytest.mark.parametrize("backend", USES)
def test_extension_modules_are_built(
    pair: Pair, compare: Compare, store: Path, backend: str
) -> None:
    def act(environment: Environment) -> str:
        project = environment.home / backend
        shutil.copytree(EXTENSIONS / backend, project)
        install(pair, environment, project)
        return environment.code(USES[backend])

    assert compare(backend, pair, act) == ANSWERS[backend]
    settings = (EXTENSIONS / backend / "pyproject.toml").read_text()
    [requires] = re.findall(r"^requires = (.*)$", settings, re.MULTILINE)
    stored = {path.name.partition("-")[0] for path in (store / "entries").iterdir()}
    for name in json.loads(requires):
        assert canonicalize_name(name).replace("-", "_") in stored


SETUPTOOLS = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{0}"
version = "1.0"
[tool.setuptools.packages.find]
where = ["{1}"]
"""
HATCHLING = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{0}"
version = "1.0"
[tool.hatch.build.targets.wheel]
packages = ["{1}/{0}", "{1}/labour_space"]
"""
EXACT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{0}"
version = "1.0"
[tool.hatch.build]
dev-mode-exact = true
[tool.hatch.build.targets.wheel]
packages = ["{1}/{0}"]
"""
"""An import hook stands for each package, so namespaces cannot be shared."""
PROJECTS = {"flat": ".", "sources": "src", "hatched": "src", "mapped": "src"}
"""Where the packages of each are."""
EDITABLE = {
    "setuptools": {"flat": SETUPTOOLS, "sources": SETUPTOOLS},
    "setuptools strict": {"flat": SETUPTOOLS, "sources": SETUPTOOLS},
    "hatchling": {"hatched": HATCHLING, "mapped": EXACT},
}


def write_project(folder: Path, name: str, settings: str) -> Path:
    """A package, and a part of a namespace that is a linked distribution's, too."""
    place = PROJECTS[name]
    for package in (name, f"labour_space/{name}"):
        path = folder / name / place / package
        path.mkdir(parents=True)
        (path / "__init__.py").write_text("import labour\nVERSION = 'editable'\n")
    (folder / name / "pyproject.toml").write_text(settings.format(name, place))
    return folder / name


@pytest.mark.parametrize("row", EDITABLE)
def test_editable_projects_share_a_namespace_with_distributions(
    pair: Pair, compare: Compare, row: str
) -> None:
    backend, _, mode = row.partition(" ")
    projects = EDITABLE[row]
    parts = [name for name, settings in projects.items() if settings != EXACT]
    modules = [*projects, *(f"labour_space.{name}" for name in parts)]

    def look(environment: Environment) -> Any:
        probe = (environment.python, PROBES / "site_packages.py", *modules)
        return json.loads(environment.run(*probe).stdout)

    def act(environment: Environment) -> Any:
        install(pair, environment, "labour", "labour-two")
        options = ["--config-settings", f"editable_mode={mode}"] if mode else []
        for name, settings in projects.items():
            options += ["-e", str(write_project(environment.home, name, settings))]
        install(pair, environment, *options)
        found = look(environment)
        environment.pip("uninstall", "-y", "labour-two")
        return {"with": found, "without": look(environment)}

    found = compare(
        backend,
        pair,
        act,
        version=" ".join([pair.versions[backend], "editable", *mode.split()]),
        cell=lambda seen: f"{len(seen['with'])} answers",
    )
    for each in found.values():
        assert each["labour_space.one"][1] == "1.0"
        for name in modules:
            assert each[name][1] == "editable"
            assert each[name][0].startswith("HOME/")
    assert found["with"]["labour_space.two"][1] == "1.0"
    assert found["without"]["labour_space.two"] == "ModuleNotFoundError"
