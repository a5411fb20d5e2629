"""Processes, options, subinterpreters and prefixes of every Python, copied and linked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

import interpreters
import labour
from conftest import Compare
from environments import Environment, Templates
from labour import PROBES
from pairs import VIEW, Pair, Pairs
from wheelhouse import NEWEST_PIP, Wheelhouse

CPYTHON = ("3.9", "3.10", "3.11", "3.12", "3.13")
PYPY = "pypy3"
SITE_PACKAGES = "site-packages"


def find(version: str) -> Path:
    """The interpreter of a version; nothing is skipped for want of one."""
    found = shutil.which(PYPY) if version == PYPY else interpreters.find(version)
    assert found is not None, f"{version} is not installed"
    return Path(found)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, pairs: Pairs) -> Callable[[str], Pair]:
    """The pair of environments of a version of Python."""
    known: dict[str, Pair] = {}

    def pair_of(version: str) -> Pair:
        if version not in known:
            root = tmp_path_factory.mktemp(f"pair-{version}")
            known[version] = labour.make_pair(pairs, root, find(version))
        return known[version]

    return pair_of


@pytest.fixture(params=[*CPYTHON, PYPY])
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def answers(found: dict[str, Any]) -> str:
    return f"{len(found)} answers"


def probe(name: str, *arguments: str) -> Callable[[Environment], Any]:
    """Run a program of the folder ``probes`` in an environment."""

    def act(environment: Environment) -> Any:
        command = (environment.python, PROBES / f"{name}.py", *arguments)
        return json.loads(environment.run(*command).stdout)

    return act


def test_functions_are_called_in_processes(
    made: Callable[[str], Pair], version: str, compare: Compare
) -> None:
    found = compare(
        "multiprocessing",
        made(version),
        probe("processes"),
        version=version,
        cell=answers,
    )
    for method in ("fork", "spawn", "forkserver"):
        assert found[method][0] == 8
    assert found["unpickled"][-1] == {"x": 1, "y": 2}


def test_options_and_variables_of_the_interpreter(
    made: Callable[[str], Pair], version: str, compare: Compare
) -> None:
    found = compare(
        "options", made(version), probe("starts"), version=version, cell=answers
    )
    status, _, error = found.pop("-S")
    assert status == 1
    assert "No module named labour" in error
    assert {answer[0] for answer in found.values()} <= {0, "0"}
    assert found["-Werror"] == [0, "labour 1.0 an argument\n", ""]


def test_distributions_are_found(
    made: Callable[[str], Pair], version: str, compare: Compare
) -> None:
    found = compare(
        "imports", made(version), probe("site_packages"), version=version, cell=answers
    )
    assert found["all there"] is True
    assert found["portions"] == ["one", "two"]


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("version", CPYTHON)  # PyPy has none
def test_subinterpreters(
    made: Callable[[str], Pair], version: str, kind: str, compare: Compare
) -> None:
    act = probe("subinterpreter", kind)
    row = f"{version} {kind}"
    error, found = compare(
        "subinterpreter", made(version), act, version=row, cell=lambda seen: seen[1][2]
    )
    assert error == "None"
    assert found[2:] == ["1.0", [4]]


def at_another_path(
    name: str, place: Callable[[Path, Path], object]
) -> Callable[..., Any]:
    """Look at the environment after ``place(old, new)`` has put it somewhere else."""

    def act(environment: Environment) -> Any:
        path = environment.path.with_name(name)
        place(environment.path, path)
        found = probe("site_packages")(Environment(path, environment.store))
        return json.loads(json.dumps(found).replace(str(path), str(environment.path)))

    return act


@pytest.mark.parametrize(
    ("row", "place"),
    [("renamed", Path.rename), ("a link", lambda old, new: new.symlink_to(old))],
)
def test_an_environment_can_be_somewhere_else(
    made: Callable[[str], Pair],
    compare: Compare,
    tmp_path: Path,
    row: str,
    place: Callable[[Path, Path], object],
) -> None:
    pair = made("3.12").copy(tmp_path)
    act = at_another_path("another name", place)
    found = compare("prefix", pair, act, version=row, cell=answers)
    assert found["all there"] is True


@pytest.mark.parametrize("options", [(), ("--system-site-packages",)])
def test_an_environment_made_by_that_of_another_sees_nothing_of_it(
    made: Callable[[str], Pair], compare: Compare, options: tuple[str, ...]
) -> None:
    def act(environment: Environment) -> Any:
        path = environment.home / f"another{len(options)}"
        command = (environment.python, "-m", "venv", "--without-pip", *options, path)
        environment.run(*command)
        return probe("site_packages")(Environment(path, environment.store))

    found = compare(
        "prefix", made("3.12"), act, version=" ".join(("venv", *options)), cell=answers
    )
    assert set(found.values()) == {"ModuleNotFoundError", None}


@pytest.mark.parametrize("foreign", ["3.12", "3.13"])
def test_site_packages_can_be_added_to_another_interpreter(
    made: Callable[[str], Pair], compare: Compare, foreign: str
) -> None:
    def act(environment: Environment) -> str:
        code = f"import site; site.addsitedir({str(environment.site)!r}); {IMPORTS}"
        return environment.run(find(foreign), "-I", "-c", code).stdout

    found = compare("site.addsitedir", made("3.12"), act, version=foreign)
    assert found == "1.0 1.0\n"


IMPORTS = """
import labour, labour_space.two as two
print(labour.VERSION, two.VERSION)
"""


def test_pythonpath_of_another_interpreter_names_the_view(
    made: Callable[[str], Pair], compare: Compare
) -> None:
    """Start-up files are not run for PYTHONPATH, so site-packages alone is not enough."""

    def act(environment: Environment) -> list[Any]:
        found = []
        for folder in (environment.site, environment.site / VIEW):
            command = (find("3.13"), "-c", IMPORTS)
            variables = {"PYTHONPATH": str(folder)}
            done = environment.run(*command, variables=variables, check=False)
            found.append([done.returncode, done.stdout])
        return found

    seen, unseen = [0, "1.0 1.0\n"], [1, ""]
    found = compare(
        "PYTHONPATH",
        made("3.12"),
        act,
        version="3.13",
        difference=lambda plain: plain[::-1],
    )
    assert found == [seen, unseen]


def prefix_of_its_own(python: Path, path: Path) -> Environment:
    """A base interpreter with an empty site-packages, whose standard library is links."""
    base = Environment(path, path.with_name("store"))
    library = path / "lib" / python.name
    for folder in (path / "bin", library / SITE_PACKAGES):
        folder.mkdir(parents=True)
    shutil.copy2(python, base.python)
    for each in (python.parents[1] / "lib" / python.name).iterdir():
        if each.name != SITE_PACKAGES:
            (library / each.name).symlink_to(each)
    return base


@pytest.mark.parametrize(
    ("below", "above"), [("copied", "linked"), ("linked", "copied"), ("linked", "linked")]
)
def test_packages_of_the_base_are_seen_below_those_of_the_environment(
    pairs: Pairs, compare: Compare, tmp_path: Path, below: str, above: str
) -> None:
    older = labour.write_wheels(tmp_path / "wheels", "1.0")
    newer, _ = labour.write_wheels(tmp_path / "wheels", "2.0")
    how = {"copied": pairs.copy_into, "linked": pairs.link_into}

    def make(name: str, below: str, above: str) -> Environment:
        path = tmp_path / name / "environment"
        path.parent.mkdir()
        base = prefix_of_its_own(find("3.12"), path.with_name("base"))
        how[below](base, *older)
        venv = ("-m", "venv", "--without-pip", "--system-site-packages", path)
        base.run(base.python, *venv)
        environment = Environment(path, base.store)
        how[above](environment, newer)
        return environment

    def look(environment: Environment) -> Any:
        found = json.dumps(probe("site_packages")(environment))
        base = str(environment.path.with_name("base"))
        return json.loads(found.replace(base, "BASE"))

    def act(environment: Environment) -> Any:
        found = look(environment)
        uv = (find_uv_bin(), "pip", "uninstall", "--python", environment.python)
        environment.run(*uv, "labour")
        return {"with": found, "without": look(environment)}

    environments = (make("plain", "copied", "copied"), make("linked", below, above))
    pair = Pair(*environments, tmp_path / "wheels", {})
    found = compare(
        "prefix",
        pair,
        act,
        version=f"{above} over {below}",
        cell=lambda seen: " ".join(each["version of labour"] for each in seen.values()),
    )
    assert found["with"]["version of labour"] == "2.0"
    assert found["without"]["version of labour"] == "1.0"
    assert found["without"]["labour_module"][0].startswith("BASE/")
    for each in found.values():
        assert each["labour_space.two"][0].startswith("BASE/")
    assert len(found["with"]["path"]) == 2


def test_commonwheel_serves_environments_of_pypy(
    tmp_path: Path, templates: Templates, wheelhouse: Wheelhouse
) -> None:
    host = templates.make(tmp_path / "host", find("3.12"), NEWEST_PIP)
    host.variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse.folder)}
    made = Environment(tmp_path / "environment", host.store)
    commonwheel = host.path / "bin/commonwheel"
    host.run(commonwheel, "venv", "--python", find(PYPY), made.path)
    made.install(*labour.write_wheels(tmp_path / "wheels"))
    assert made.is_linked("labour")
    assert probe("site_packages")(made)["labour_space.two"][1] == "1.0"
    entry = next((host.store / "entries").glob("labour-1.0-*"))
    assert (entry / "tree/labour/__pycache__/work.pypy39.pyc").is_file()
    assert host.run(commonwheel, "doctor", made.path).returncode == 0

    entry.rename(tmp_path / "lost")
    failed = made.run(made.python, "-c", "import labour", check=False)
    assert "MissingEntryError: labour 1.0 is linked to the store entry" in failed.stderr
    assert host.run(commonwheel, "doctor", made.path, check=False).returncode == 1

    (tmp_path / "lost").rename(entry)
    made.pip("uninstall", "-y", "labour", "labour-two")
    assert probe("site_packages")(made)["labour.work"] == "ModuleNotFoundError"
