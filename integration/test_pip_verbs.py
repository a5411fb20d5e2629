"""What is done to installed distributions: upgrades, changes of mind, uninstalling.

Every verb is tried with commonwheel in the environment and with it uninstalled before:
what it has linked must not depend on it. What uv does is in ``test_uv.py``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from environments import (
    Environment,
    Templates,
    Tree,
    assert_untouched,
    copy_environment,
    store_contents,
)
from wheelhouse import NEWEST_PIP, write_wheel

Make = Callable[..., Environment]


class Stage(NamedTuple):
    """An environment with a subject, and neighbours that share folders with it."""

    environment: Environment
    wheels: Path
    before: Tree
    """What was in the environment before anything was installed."""


NEIGHBOURS = ("near-namespace", "near-regular", "near-module", "near-data")
SUBJECT = {
    "1.0": ("subject", "subject.part", "subject.only_one", "subject_module_one"),
    "2.0": ("subject", "subject.part", "subject.only_two", "subject_module_two"),
}
"""What can be imported of each version; more is checked by :func:`_check`."""
SHARED = ("near_space.subject", "near_space.common.subject", "near_regular.subject")
NEAR = (
    "near_space.near",
    "near_space.common.near",
    "near_regular",
    "near_regular.near",
    "near_module",
    "near_data",
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs")
    for version, word in (("1.0", "one"), ("2.0", "two")):
        _write_subject(folder, version, word, {})
    # the same version once more, from other bytes
    _write_subject(folder / "rebuilt", "1.0", "one", {"subject/rebuilt.py": ""})
    write_wheel(
        folder,
        "near-namespace",
        "1.0",
        {"near_space/near.py": "", "near_space/common/near.py": ""},
    )
    write_wheel(
        folder,
        "near-regular",
        "1.0",
        {"near_regular/__init__.py": "", "near_regular/near.py": ""},
    )
    write_wheel(folder, "near-module", "1.0", {"near_module.py": ""})
    write_wheel(
        folder,
        "near-data",
        "1.0",
        {"near_data/__init__.py": "", "{data}/data/share/both/near.txt": ""},
        entry_points="[console_scripts]\nnear-script = near_data:print\n",
    )
    return folder


def _write_subject(folder: Path, version: str, word: str, more: dict[str, str]) -> None:
    files = {
        "subject/__init__.py": f"VERSION = {version!r}\ndef main(): print(VERSION)\n",
        "subject/part/__init__.py": "",
        f"subject/only_{word}.py": "",
        f"subject_module_{word}.py": "",
        "near_space/subject.py": "",
        "near_space/common/subject.py": "",
        "near_regular/subject.py": "",
        f"{{data}}/data/share/both/{word}.txt": "",
        f"{{data}}/scripts/subject-{word}": "#!python\nimport subject\nsubject.main()\n",
    }
    write_wheel(
        folder,
        "subject",
        version,
        {**files, **more},
        entry_points="[console_scripts]\nsubject = subject:main\n"
        f"subject-main-{word} = subject:main\n",
        executable=(f"subject-{version}.data/scripts/subject-{word}",),
    )


@pytest.fixture(scope="module", params=["23.2", NEWEST_PIP])
def prepared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    templates: Templates,
    python: Path,
    wheels: Path,
) -> Stage:
    """What :func:`stage` copies."""
    root = tmp_path_factory.mktemp("prepared")
    environment = templates.make(root / "environment", python, request.param)
    before = environment.tree()
    environment.install(*NEIGHBOURS, wheels=wheels)
    return Stage(environment, wheels, before)


@pytest.fixture
def stage(prepared: Stage, tmp_path: Path) -> Iterator[Stage]:
    path = tmp_path / "environment"
    copy_environment(prepared.environment.path, path)
    yield prepared._replace(environment=Environment(path, prepared.environment.store))
    shutil.rmtree(path)


@pytest.fixture(params=["with commonwheel", "without commonwheel"])
def leave(request: pytest.FixtureRequest) -> Callable[[Environment], None]:
    """Uninstalls commonwheel, or not."""

    def leave(environment: Environment) -> None:
        if request.param == "without commonwheel":
            environment.remove_commonwheel()

    return leave


def _put(stage: Stage, version: str, *options: str, linked: bool) -> None:
    wheel = stage.wheels / f"subject-{version}-py3-none-any.whl"
    stage.environment.install(*options, wheel, linked=linked)


def _check(stage: Stage, version: str | None, *, linked: bool = True) -> None:
    """The subject is there in one version only (or not at all); neighbours are there."""
    environment = stage.environment
    every = {name for names in SUBJECT.values() for name in names}
    wanted = {*SUBJECT[version], *SHARED} if version else set()
    _check_importable(environment, wanted, {*every, *SHARED} - wanted)
    listed = environment.installed()
    assert listed.get("subject") == version
    assert {name: listed[name] for name in NEIGHBOURS} == dict.fromkeys(NEIGHBOURS, "1.0")
    assert all(environment.is_linked(name) for name in NEIGHBOURS)
    infos = [path.name for path in environment.site.glob("subject-*")]
    assert infos == ([f"subject-{version}.dist-info"] if version else [])
    assert environment.is_linked("subject") == (version is not None and linked)
    view = environment.site / "_commonwheel/view"
    shown = [path for path in view.rglob("*") if "subject" in path.name]
    assert bool(shown) == (version is not None and linked)
    word = {"1.0": "one", "2.0": "two", None: ""}[version]
    others = {"one", "two"} - {word}
    present = {path.rpartition("/")[2] for path in environment.tree()}
    for other in others:
        assert not present & {
            f"only_{other}.py",
            f"subject_module_{other}.py",
            f"{other}.txt",
            f"subject-{other}",
            f"subject-main-{other}",
        }
    if version:
        assert (environment.path / f"bin/subject-main-{word}").is_file()
        for script in (f"subject-{word}", "subject"):
            answer = environment.run(environment.path / "bin" / script)
            assert answer.stdout == f"{version}\n"


def _check_importable(
    environment: Environment, wanted: set[str], unwanted: set[str]
) -> None:
    code = f"""
import importlib, json
found = []
for name in {sorted({*wanted, *unwanted, *NEAR})!r}:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    found.append([name, bool(getattr(module, "__file__", None))])
print(json.dumps(found))
"""
    found = dict(environment.json(code))
    assert set(found) == wanted | set(NEAR)
    assert all(found.values()), "an empty namespace"


def _check_nothing_left(stage: Stage) -> None:
    stage.environment.pip("uninstall", "-y", "subject", *NEIGHBOURS)
    assert stage.environment.leftovers(stage.before) == set()


def test_reports_know_linked_distributions(
    stage: Stage, leave: Callable[[Environment], None]
) -> None:
    _put(stage, "1.0", linked=True)
    environment = stage.environment
    leave(environment)
    assert environment.listed()["subject"] == "1.0"
    # as for every wheel that was given by its path
    frozen = environment.pip("freeze").stdout.splitlines()
    assert "near-module==1.0" in frozen
    assert any(line.startswith("subject @ file://") for line in frozen)
    assert "No broken requirements" in environment.pip("check").stdout
    shown = environment.pip("show", "-f", "subject").stdout
    files = shown.partition("Files:\n")[2].split()
    assert {"subject/__init__.py", "subject/part/__init__.py"} <= set(files)
    assert "../../../bin/subject" in files
    report = json.loads(environment.pip("inspect").stdout)
    subject = next(
        each for each in report["installed"] if each["metadata"]["name"] == "subject"
    )
    assert subject["installer"] == "commonwheel"
    assert subject["requested"] is True
    assert subject["direct_url"]["url"].endswith("/subject-1.0-py3-none-any.whl")
    assert subject["metadata_location"] == str(environment.site / "subject-1.0.dist-info")


def test_uninstalling_one_leaves_its_neighbours_alone(
    stage: Stage, leave: Callable[[Environment], None]
) -> None:
    untouched = stage.environment.tree()
    _put(stage, "1.0", linked=True)
    stored = store_contents(stage.environment.store)
    leave(stage.environment)
    stage.environment.pip("uninstall", "-y", "subject")
    _check(stage, None)
    assert_untouched(stage.environment.store, stored)
    # Links of neighbours that were split into folders stay folders, with their markers.
    left = stage.environment.leftovers(untouched)
    assert {path for path in left if "/view/near_" not in path} == set()
    assert not any("subject" in path for path in left)
    _check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_uninstalling_a_neighbour_leaves_the_other_alone(
    neighbour: str, make: Make, wheels: Path
) -> None:
    environment = make()
    before = environment.tree()
    environment.install(*NEIGHBOURS, wheels=wheels)
    stage = Stage(environment, wheels, before)
    _put(stage, "1.0", linked=True)
    stored = store_contents(environment.store)
    environment.pip("uninstall", "-y", neighbour)
    prefix = neighbour.replace("-", "_").replace("namespace", "space")
    gone = {name for name in NEAR if name.startswith(prefix)}
    for name in (*SUBJECT["1.0"], *SHARED, *NEAR):
        if name not in gone:
            code = f"import {name}"
            if name != "near_regular.subject" or neighbour != "near-regular":
                environment.code(code)
    for name in gone - {"near_regular"}:
        assert not environment.can_import(name)
    assert_untouched(environment.store, stored)
    # the shared package has lost its __init__: what is left of it is a namespace, as
    # it is where both were copied
    if neighbour == "near-regular":
        assert environment.code("import near_regular.subject as s; print(s.__file__)")
    stage.environment.pip("uninstall", "-y", "subject", *set(NEIGHBOURS) - {neighbour})
    assert environment.leftovers(before) == set()


REPLACEMENTS = {
    "upgrade, linked to linked": ("1.0", True, ("--upgrade",), "2.0", True),
    "upgrade, linked to copied": ("1.0", True, ("--upgrade",), "2.0", False),
    "upgrade, copied to linked": ("1.0", False, ("--upgrade",), "2.0", True),
    "downgrade, linked to linked": ("2.0", True, (), "1.0", True),
    "downgrade, linked to copied": ("2.0", True, (), "1.0", False),
    "downgrade, copied to linked": ("2.0", False, (), "1.0", True),
    "reinstall, linked to linked": ("1.0", True, ("--force-reinstall",), "1.0", True),
    "reinstall, linked to copied": ("1.0", True, ("--force-reinstall",), "1.0", False),
    "reinstall, copied to linked": ("1.0", False, ("--force-reinstall",), "1.0", True),
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_a_replacement_leaves_nothing_of_what_was_there(
    replacement: str, stage: Stage
) -> None:
    first, linked_first, options, then, linked_then = REPLACEMENTS[replacement]
    _put(stage, first, linked=linked_first)
    stored = store_contents(stage.environment.store)
    _put(stage, then, *options, linked=linked_then)
    _check(stage, then, linked=linked_then)
    _check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


@pytest.mark.parametrize(
    "replacement", [key for key in REPLACEMENTS if key.endswith("linked to copied")]
)
def test_pip_alone_replaces_linked_distributions(replacement: str, stage: Stage) -> None:
    first, _, options, then, _ = REPLACEMENTS[replacement]
    _put(stage, first, linked=True)
    stored = store_contents(stage.environment.store)
    stage.environment.remove_commonwheel()
    _put(stage, then, *options, linked=False)
    _check(stage, then, linked=False)
    _check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


def test_other_bytes_of_the_same_version_replace_it(stage: Stage) -> None:
    _put(stage, "1.0", linked=True)
    environment = stage.environment
    stored = store_contents(environment.store)
    rebuilt = stage.wheels / "rebuilt/subject-1.0-py3-none-any.whl"
    environment.install("--force-reinstall", rebuilt)
    _check(stage, "1.0")
    assert environment.can_import("subject.rebuilt")
    names = [path.name for path in (environment.store / "entries").iterdir()]
    assert len([name for name in names if name.startswith("subject-1.0-")]) == 2
    _put(stage, "1.0", "--force-reinstall", linked=True)
    _check(stage, "1.0")
    assert not environment.can_import("subject.rebuilt")
    assert_untouched(environment.store, stored)


def test_the_same_version_is_left_as_it_is(stage: Stage) -> None:
    _put(stage, "1.0", linked=True)
    before = stage.environment.tree()
    answer = stage.environment.install("subject==1.0", "-U", wheels=stage.wheels)
    assert "already satisfied" in answer.stdout
    assert stage.environment.tree() == before


@pytest.mark.parametrize("then", ["1.0", "2.0"])
@pytest.mark.parametrize("first", ["linked", "copied"])
def test_ignoring_what_is_installed_and_linking_replaces_it(
    first: str, then: str, stage: Stage
) -> None:
    # pip itself would leave the files, and the metadata of the other version
    _put(stage, "1.0", linked=first == "linked")
    _put(stage, then, "--ignore-installed", linked=True)
    _check(stage, then)
    _check_nothing_left(stage)


def test_ignoring_what_is_linked_and_copying_the_same_version_takes_over(
    stage: Stage, leave: Callable[[Environment], None]
) -> None:
    environment = stage.environment
    _put(stage, "1.0", linked=True)
    stored = store_contents(environment.store)
    leave(environment)
    _put(stage, "1.0", "--ignore-installed", linked=False)
    code = "import subject, subject.part; print(subject.__file__)"
    assert environment.code(code) == str(environment.site / "subject/__init__.py")
    assert environment.installed()["subject"] == "1.0"
    environment.pip("uninstall", "-y", "subject")
    assert not list(environment.site.glob("subject*/*.py"))
    assert_untouched(environment.store, stored)


def test_ignoring_what_is_linked_and_copying_leaves_no_links_where_commonwheel_is(
    stage: Stage,
) -> None:
    # Where it is not, pip knows nothing of the links: they stay, behind the copies.
    _put(stage, "1.0", linked=True)
    _put(stage, "1.0", "--ignore-installed", linked=False)
    _check(stage, "1.0", linked=False)
    _check_nothing_left(stage)


def test_all_distributions_can_be_uninstalled_with_commonwheel_itself(
    stage: Stage,
) -> None:
    environment = stage.environment
    _put(stage, "1.0", linked=True)
    names = [name for name in environment.listed() if name != "pip"]
    environment.pip("uninstall", "-y", *names)
    assert set(environment.listed()) == {"pip"}
    assert environment.leftovers(stage.before) == set()
    assert environment.code("print(1)") == "1"


def test_a_neighbour_that_was_copied_and_a_linked_one_share_a_package(
    make: Make, wheels: Path
) -> None:
    environment = make()
    before = environment.tree()
    environment.install("near-regular", "near-namespace", wheels=wheels, linked=False)
    environment.install("subject==1.0", wheels=wheels)
    for name in (*SHARED, "near_regular.near", "near_space.near"):
        assert environment.can_import(name)
    environment.pip("uninstall", "-y", "near-regular", "near-namespace")
    assert environment.can_import("near_space.subject")
    environment.pip("uninstall", "-y", "subject")
    assert environment.leftovers(before) == set()


@pytest.mark.parametrize("order", [1, -1])
def test_files_that_two_distributions_have_survive_the_one_that_is_uninstalled_last(
    order: int, make: Make, tmp_path: Path
) -> None:
    first, second = ("twin-a", "twin-b")[::order]
    for name in (first, second):
        files = {
            "twin/__init__.py": "",
            "twin/both.py": f"WHO = {name!r}\n",
            f"twin/{name[-1]}.py": "",
        }
        write_wheel(tmp_path / "wheels", name, "1.0", files)
    environment = make()
    before = environment.tree()
    environment.install(first, wheels=tmp_path / "wheels")
    answer = environment.install(second, wheels=tmp_path / "wheels")
    assert "twin/both.py is in" in answer.stdout + answer.stderr
    stored = store_contents(environment.store)
    assert environment.code("import twin.both as b; print(b.WHO)") == second
    environment.pip("uninstall", "-y", second)
    # as with copied files, what both have goes with the first that goes
    assert not environment.can_import(f"twin.{second[-1]}")
    environment.code(f"import twin.{first[-1]}")
    environment.pip("uninstall", "-y", first)
    assert environment.leftovers(before) == set()
    assert_untouched(environment.store, stored)


def test_what_is_left_without_the_runtime_can_be_uninstalled(stage: Stage) -> None:
    _put(stage, "1.0", linked=True)
    environment = stage.environment
    environment.remove_commonwheel()
    for name in ("00_commonwheel.pth", "00_commonwheel_rt.start", "_commonwheel.py"):
        (environment.site / name).unlink()
    for compiled in (environment.site / "__pycache__").glob("_commonwheel.*"):
        compiled.unlink()
    environment.pip("uninstall", "-y", "subject", *NEIGHBOURS)
    assert environment.leftovers(stage.before) == set()
