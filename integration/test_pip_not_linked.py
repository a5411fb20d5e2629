"""What is never linked: it has a place of its own, or has to work without the store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import Environment, Tree
from wheelhouse import NEWEST_PIP, Sample, Wheelhouse, write_wheel

Make = Callable[..., Environment]

BACKENDS = {
    "setuptools": 'requires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    "hatchling": 'requires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
}
PROJECT = """
[project]
name = "project"
version = "1.0"
[project.scripts]
project = "project:main"
"""


def _write_project(folder: Path, backend: str) -> Path:
    (folder / "src/project").mkdir(parents=True)
    (folder / "src/project/__init__.py").write_text("def main(): print('ran')\n")
    (folder / "pyproject.toml").write_text(
        f"[build-system]\n{BACKENDS[backend]}{PROJECT}"
    )
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pip", ["23.2", NEWEST_PIP])
def test_ask_17_an_editable_install_is_left_to_pip(
    backend: str, pip: str, make: Make, wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    environment = make(pip=pip)
    before = environment.tree()
    project = _write_project(tmp_path / "project", backend)
    environment.install("-e", project, "six", wheels=wheelhouse.folder)
    assert not environment.is_linked("project")
    assert environment.is_linked("six")
    source = project / "src/project/__init__.py"
    assert environment.code("import project; print(project.__file__)") == str(source)
    source.write_text("def main(): print('edited')\n")
    assert environment.run(environment.path / "bin/project").stdout == "edited\n"
    assert "Editable project location" in environment.pip("show", "project").stdout
    environment.pip("uninstall", "-y", "project", "six")
    assert environment.leftovers(before) == set()
    assert not list((environment.store / "entries").glob("project*"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ask_03_a_project_of_ones_own_is_built_and_its_wheel_is_linked(
    backend: str, environment: Environment, wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    project = _write_project(tmp_path / "project", backend)
    environment.install(project, wheels=wheelhouse.folder)
    assert environment.is_linked("project")
    assert environment.run(environment.path / "bin/project").stdout == "ran\n"
    assert environment.pip("freeze").stdout.find(f"project @ file://{project}") >= 0
    # the same version with other contents is another entry
    (project / "src/project/__init__.py").write_text("def main(): print('anew')\n")
    environment.install("--force-reinstall", project, wheels=wheelhouse.folder)
    assert environment.run(environment.path / "bin/project").stdout == "anew\n"
    assert len(list((environment.store / "entries").glob("project-1.0-*"))) == 2


def test_a_source_distribution_is_built_and_its_wheel_is_linked(
    environment: Environment, wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    project = _write_project(tmp_path / "project-1.0", "hatchling")
    (project / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: project\nVersion: 1\n"
    )
    archive = shutil.make_archive(
        str(tmp_path / "project-1.0"), "gztar", tmp_path, "project-1.0"
    )
    environment.install(archive, wheels=wheelhouse.folder)
    assert environment.is_linked("project")
    assert environment.run(environment.path / "bin/project").stdout == "ran\n"
    # from pip's cache of wheels it has built
    environment.install("--force-reinstall", archive, wheels=wheelhouse.folder)
    assert environment.is_linked("project")


def test_what_mends_an_environment_does_not_depend_on_the_store(
    make: Make, wheelhouse: Wheelhouse
) -> None:
    environment = make()
    environment.install(
        *("--force-reinstall", "--no-compile", "pip", "commonwheel"),
        wheels=wheelhouse.folder,
    )
    for name in ("pip", "commonwheel", "filelock", "packaging", "rich", "pygments"):
        assert not environment.is_linked(name)
        assert (environment.site / name / "__init__.py").is_file()


MODES = {
    "in a subprocess": (),
    "in the process": ("--use-feature=inprocess-build-deps",),
    "in a venv": ("--use-feature=inprocess-build-deps", "--use-feature=venv-isolation"),
    "in a venv, by a subprocess": ("--use-feature=venv-isolation",),
}
SPYING_BACKEND = """
import importlib.util, json, os, pathlib, sys
def _look():
    seen = {name: getattr(importlib.util.find_spec(name), "origin", None)
            for name in ("six", "needed_to_build", "sample_module")}
    seen["needed_to_build_in_the_store"] = os.path.realpath(seen["needed_to_build"])
    path = pathlib.Path("{report}")
    path.write_text(json.dumps({"seen": seen, "path": sys.path}))
def get_requires_for_build_wheel(settings=None):
    return []
def build_wheel(folder, settings=None, metadata=None):
    _look()
    import shutil
    shutil.copy("{wheel}", folder)
    return os.path.basename("{wheel}")
"""


BUILDS = [
    *((pip, "in a subprocess", "flag") for pip in ("23.2", "24.0", "25.3")),
    *(
        (NEWEST_PIP, mode, face)
        for mode in MODES
        for face in ("variable", "flag", "conf")
    ),
]


@pytest.mark.parametrize(("pip", "mode", "face"), BUILDS)
def test_ask_22_an_isolated_build_is_linked_and_sees_nothing_else(
    pip: str, mode: str, face: str, make: Make, sample: Sample, tmp_path: Path
) -> None:
    environment = make(pip=pip)
    environment.install("sample-module", wheels=sample.folder)
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "needed-to-build", "1", {"needed_to_build.py": ""})
    project, report = _write_spying_project(tmp_path)
    variables: dict[str, str] = {}
    if face == "variable":
        variables = {"PIP_USE_SHARED_STORE": "1"}
    elif face == "conf":
        conf = tmp_path / "pip.conf"
        conf.write_text("[global]\nuse-shared-store = true\n")
        variables = {"PIP_CONFIG_FILE": str(conf)}
    environment.install(
        *MODES[mode], project, wheels=wheels, linked=face == "flag", variables=variables
    )
    assert environment.is_linked("spied")
    seen = _seen(report)
    assert seen["sample_module"] is None
    assert "/pip-build-env-" in seen["needed_to_build"]
    assert seen["needed_to_build"].endswith("/_commonwheel/view/needed_to_build.py")
    entries = (environment.store / "entries").iterdir()
    assert {path.name.partition("-")[0] for path in entries} == {
        "needed_to_build",
        "sample_module",
        "spied",
    }
    assert not environment.can_import("needed_to_build")
    assert not Path(seen["needed_to_build"]).exists()
    assert Path(seen["needed_to_build_in_the_store"]).is_file()


def test_an_isolated_build_is_not_linked_if_the_command_line_says_so(
    environment: Environment, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "needed-to-build", "1", {"needed_to_build.py": ""})
    project, report = _write_spying_project(tmp_path)
    environment.install(
        *("--no-use-shared-store", project),
        wheels=wheels,
        linked=False,
        variables={"PIP_USE_SHARED_STORE": "1"},
    )
    seen = _seen(report)
    assert seen["needed_to_build"].endswith("/site-packages/needed_to_build.py")
    assert not environment.is_linked("spied")


def _write_spying_project(folder: Path) -> tuple[Path, Path]:
    """A project whose build reports what it sees, and the file where it does."""
    built = write_wheel(folder, "spied", "1", {"spied.py": ""})
    project = folder / "project"
    project.mkdir()
    report = folder / "report.json"
    backend = SPYING_BACKEND.replace("{report}", str(report))
    (project / "spy.py").write_text(backend.replace("{wheel}", str(built)))
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["needed-to-build"]\n'
        'build-backend = "spy"\nbackend-path = ["."]\n'
    )
    return project, report


def _seen(report: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(report.read_text())["seen"]
    return found


def test_files_of_other_places_land_where_pip_puts_them(
    make: Make, sample: Sample
) -> None:
    """Scripts, headers, data and start-up files are real, the rest is linked."""

    def put(*, linked: bool) -> Tree:
        environment = make()
        before = environment.tree()
        names = ("sample-data", "sample-start")
        environment.install(*names, wheels=sample.folder, linked=linked)
        now = environment.tree()
        site = environment.site.relative_to(environment.path).as_posix()
        shutil.rmtree(environment.path)
        below = (f"{site}/_commonwheel", f"{site}/00_commonwheel")
        return {
            path: kind
            for path, kind in now.items()
            if path not in before and not path.startswith(below)
        }

    linked, copied = put(linked=True), put(linked=False)

    def is_tree(path: str) -> bool:
        return "/sample_" in path and not path.endswith(".pth")

    assert _but(linked, is_tree) == _but(copied, is_tree)
    assert not any(map(is_tree, _but(linked, lambda path: "dist-info" in path)))
    # Metadata differs in who has installed it, in what is listed, and in the file that
    # says which modules there are (it is made where the wheel has none).
    different = ("INSTALLER", "RECORD", "top_level.txt")
    for path in {*linked, *copied}:
        if "dist-info/" in path and not path.endswith(different):
            digest = linked[path].rpartition(" ")[2]
            assert digest == copied[path].rpartition(" ")[2]


def _but(found: Tree, left_out: Callable[[str], bool]) -> Tree:
    return {path: kind for path, kind in found.items() if not left_out(path)}


def test_sitecustomize_of_a_wheel_is_a_real_file(
    environment: Environment, tmp_path: Path
) -> None:
    wheel = write_wheel(
        tmp_path,
        "customizer",
        "1",
        {"sitecustomize.py": "import sys; sys.customized = 1\n", "customizer.py": ""},
    )
    before = environment.tree()
    environment.install(wheel)
    assert (environment.site / "sitecustomize.py").is_file()
    assert not (environment.site / "sitecustomize.py").is_symlink()
    assert environment.is_linked("customizer")
    assert environment.code("import sys; print(sys.customized)") == "1"
    environment.pip("uninstall", "-y", "customizer")
    assert environment.leftovers(before) == set()


def test_start_files_of_both_kinds_are_real_files(
    environment: Environment, tmp_path: Path
) -> None:
    files = {"starter.pth": "import starter\n", "starter.start": "starter:run\n"}
    inner = {"starter/__init__.py": "def run(): pass\n", "starter/inner.pth": "\n"}
    environment.install(write_wheel(tmp_path, "starter", "1", {**files, **inner}))
    for name in files:
        assert (environment.site / name).is_file()
        assert not (environment.site / name).is_symlink()
    # of no meaning below the top
    assert not (environment.site / "starter").exists()
    assert environment.can_import("starter")
