"""What is done to installed distributions: upgrades, changes of mind, uninstalling.

Verbs are tried with commonwheel in the environment and with it uninstalled before: what
it has linked must not depend on it. What uv does is in ``test_pip_uv.py``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import (
    Environment,
    assert_untouched,
    forget_bytecode,
    run,
    store_contents,
)
from neighbourhood import (
    NEAR,
    NEIGHBOURS,
    SHARED,
    SUBJECT,
    Stage,
    check,
    check_nothing_left,
    put,
)
from wheelhouse import NEWEST_PIP, Wheelhouse, write_wheel

Make = Callable[..., Environment]


@pytest.fixture(params=["with commonwheel", "without commonwheel"])
def leave(request: pytest.FixtureRequest) -> Callable[[Environment], None]:
    """Uninstalls commonwheel, or not."""

    def leave(environment: Environment) -> None:
        if request.param == "without commonwheel":
            environment.remove_commonwheel()

    return leave


def test_reports_know_linked_distributions(
    stage: Stage, leave: Callable[[Environment], None]
) -> None:
    put(stage, "1.0", linked=True)
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
    put(stage, "1.0", linked=True)
    stored = store_contents(stage.environment.store)
    leave(stage.environment)
    stage.environment.pip("uninstall", "-y", "subject")
    check(stage, None)
    assert_untouched(stage.environment.store, stored)
    # Links of neighbours that were split into folders stay folders, with their markers.
    left = stage.environment.leftovers(untouched)
    assert {path for path in left if "/view/near_" not in path} == set()
    assert not any("subject" in path for path in left)
    check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_uninstalling_a_neighbour_leaves_the_other_alone(
    neighbour: str, make: Make, neighbourhood: Path
) -> None:
    environment = make()
    before = environment.tree()
    environment.install(*NEIGHBOURS, wheels=neighbourhood)
    stage = Stage(environment, neighbourhood, before)
    put(stage, "1.0", linked=True)
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
    put(stage, first, linked=linked_first)
    stored = store_contents(stage.environment.store)
    put(stage, then, *options, linked=linked_then)
    check(stage, then, linked=linked_then)
    check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


@pytest.mark.parametrize(
    "replacement", [key for key in REPLACEMENTS if key.endswith("linked to copied")]
)
def test_pip_alone_replaces_linked_distributions(replacement: str, stage: Stage) -> None:
    first, _, options, then, _ = REPLACEMENTS[replacement]
    put(stage, first, linked=True)
    stored = store_contents(stage.environment.store)
    stage.environment.remove_commonwheel()
    put(stage, then, *options, linked=False)
    check(stage, then, linked=False)
    check_nothing_left(stage)
    assert_untouched(stage.environment.store, stored)


def test_other_bytes_of_the_same_version_replace_it(stage: Stage) -> None:
    put(stage, "1.0", linked=True)
    environment = stage.environment
    stored = store_contents(environment.store)
    rebuilt = stage.wheels / "rebuilt/subject-1.0-py3-none-any.whl"
    environment.install("--force-reinstall", rebuilt)
    check(stage, "1.0")
    assert environment.can_import("subject.rebuilt")
    names = [path.name for path in (environment.store / "entries").iterdir()]
    assert len([name for name in names if name.startswith("subject-1.0-")]) == 2
    put(stage, "1.0", "--force-reinstall", linked=True)
    check(stage, "1.0")
    assert not environment.can_import("subject.rebuilt")
    assert_untouched(environment.store, stored)


def test_the_same_version_is_left_as_it_is(stage: Stage) -> None:
    put(stage, "1.0", linked=True)
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
    put(stage, "1.0", linked=first == "linked")
    put(stage, then, "--ignore-installed", linked=True)
    check(stage, then)
    check_nothing_left(stage)


def test_ignoring_what_is_linked_and_copying_the_same_version_takes_over(
    stage: Stage, leave: Callable[[Environment], None]
) -> None:
    environment = stage.environment
    put(stage, "1.0", linked=True)
    stored = store_contents(environment.store)
    leave(environment)
    put(stage, "1.0", "--ignore-installed", linked=False)
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
    put(stage, "1.0", linked=True)
    put(stage, "1.0", "--ignore-installed", linked=False)
    check(stage, "1.0", linked=False)
    check_nothing_left(stage)


def test_all_distributions_can_be_uninstalled_with_commonwheel_itself(
    stage: Stage,
) -> None:
    environment = stage.environment
    put(stage, "1.0", linked=True)
    names = [name for name in environment.listed() if name != "pip"]
    environment.pip("uninstall", "-y", *names)
    assert set(environment.listed()) == {"pip"}
    assert environment.leftovers(stage.before) == set()
    assert environment.code("print(1)") == "1"


def test_a_neighbour_that_was_copied_and_a_linked_one_share_a_package(
    make: Make, neighbourhood: Path
) -> None:
    environment = make()
    before = environment.tree()
    environment.install(
        "near-regular", "near-namespace", wheels=neighbourhood, linked=False
    )
    environment.install("subject==1.0", wheels=neighbourhood)
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
    put(stage, "1.0", linked=True)
    environment = stage.environment
    environment.remove_commonwheel()
    for name in ("00_commonwheel.pth", "_commonwheel.py"):
        (environment.site / name).unlink()
    forget_bytecode(environment.site)
    environment.pip("uninstall", "-y", "subject", *NEIGHBOURS)
    assert environment.leftovers(stage.before) == set()


def test_outside_a_virtual_environment_nothing_but_the_links_goes(
    python: Path, wheelhouse: Wheelhouse, neighbourhood: Path, tmp_path: Path
) -> None:
    # There, pip removes whatever RECORD leads to, the store included.
    prefix = _copy_interpreter(python, tmp_path / "base")
    environment = Environment(prefix, tmp_path / "store")
    wheel = wheelhouse.pip(NEWEST_PIP)
    environment.run(
        *(environment.python, f"{wheel}/pip", "install", "--no-compile", "--no-index"),
        *("--find-links", wheelhouse.folder, wheel, "commonwheel"),
    )
    before = environment.tree()
    environment.install("subject==1.0", *NEIGHBOURS, wheels=neighbourhood)
    assert environment.is_linked("subject")
    stage = Stage(environment, neighbourhood, before)
    stored = store_contents(environment.store)
    check(stage, "1.0")
    put(stage, "2.0", linked=True)
    check(stage, "2.0")
    check_nothing_left(stage)
    assert_untouched(environment.store, stored)


def _copy_interpreter(python: Path, target: Path) -> Path:
    """An installation of its own, without what only tests of Python need."""
    code = "import sys, sysconfig; print(sysconfig.get_path('stdlib'))"
    stdlib = Path(run([python, "-I", "-c", code]).stdout.strip())
    left_out = shutil.ignore_patterns(
        "site-packages",
        "test",
        "tests",
        "__pycache__",
        "idlelib",
        "ensurepip",
        "config-*",
        "EXTERNALLY-MANAGED",
    )
    shutil.copytree(stdlib, target / "lib" / stdlib.name, ignore=left_out)
    (target / "lib" / stdlib.name / "site-packages").mkdir()
    (target / "bin").mkdir()
    shutil.copy(python.resolve(), target / "bin" / "python")
    answer = run(
        [target / "bin/python", "-I", "-c", "import sys; print(sys.prefix)"], check=False
    )
    if answer.stdout.strip() != str(target):
        pytest.skip(f"{python} does not work from another folder")
    return target
