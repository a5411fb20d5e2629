"""The view of any sequence of installations and removals is what copying would give."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import uninstallers
from commonwheel import manifest
from commonwheel.apply import apply, changing
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidEnvironment, LinkConflict
from commonwheel.installation import Request
from commonwheel.plan import Plan, plan_links, plan_removal
from commonwheel.view import KEEPER
from conftest import make_environment
from entries import compiled, make_entry
from folders import shown


class Wheel(NamedTuple):
    name: str
    version: str
    files: frozenset[str]
    bytecode: bool

    def contents(self) -> dict[str, str]:
        return {path: f"{self.name} {self.version} {path}" for path in self.files}

    def entry(self, store: Path) -> Entry:
        """Equal wheels have equal entries."""
        version = f"{self.version}.{len(self.files)}"
        return make_entry(
            store, self.name, self.contents(), version, bytecode=self.bytecode
        )


class Install(NamedTuple):
    wheels: Sequence[Wheel]


class Remove(NamedTuple):
    name: str
    by: str


NAMES = st.sampled_from("abcd")
# Names of folders are no names of files, so that no two wheels are in conflict.
FOLDERS = st.lists(st.sampled_from(["n", "p"]), max_size=3)
FILES = st.sampled_from(["__init__.py", "m.py", "n.py", "t.txt"])
PATHS = st.builds(lambda folders, file: "/".join((*folders, file)), FOLDERS, FILES)
WHEELS = st.builds(
    Wheel,
    NAMES,
    st.sampled_from("12"),
    st.frozensets(PATHS, min_size=1, max_size=6),
    st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        st.builds(
            Install,
            st.lists(WHEELS, min_size=1, max_size=3, unique_by=lambda wheel: wheel.name),
        ),
        st.builds(Remove, NAMES, st.sampled_from(["pip", "uv", "commonwheel"])),
    ),
    max_size=8,
)


def install(environment: Environment, *entries: Entry) -> Plan:
    with changing(environment):
        plan = plan_links([Request(entry) for entry in entries], environment)
        apply(plan, environment)
    return plan


def remove(environment: Environment, name: str, by: str) -> None:
    site = environment.scheme.purelib
    if by == "commonwheel":
        with changing(environment):
            apply(plan_removal([name], environment), environment)
    elif list(site.glob(f"{name}-*.dist-info")):
        getattr(uninstallers, by)(site, name)
        with changing(environment):
            apply(plan_removal([], environment), environment)


def check_records(site: Path) -> None:
    """Each link and marker of the view is in exactly one RECORD, and nothing else is."""
    view = site / manifest.VIEW
    listed = [
        os.path.relpath(site / row, view)
        for metadata in site.glob("*.dist-info")
        for row in uninstallers.record_of(site, metadata.name.partition("-")[0])
        if row.startswith(f"{manifest.VIEW}/") and "__pycache__" not in row
    ]
    there = [
        os.path.relpath(os.path.join(current, name), view)
        for current, folders, files in os.walk(view)
        for name in (*folders, *files)
        if os.path.islink(os.path.join(current, name)) or name in files
        if os.path.basename(current) != "__pycache__" and name != KEEPER
    ]
    assert sorted(listed) == sorted(there)


class Claims:
    """Which distributions have a file, and whose is the one that is there."""

    def __init__(self) -> None:
        self.by_path: dict[str, dict[str, str]] = {}

    def add(self, name: str, files: dict[str, str]) -> None:
        for path, content in files.items():
            self.by_path.setdefault(path, {})[name] = content

    def drop(self, names: set[str]) -> None:
        """Of several that were hidden the first by name is shown again."""
        for path, claims in self.by_path.items():
            left = {name: each for name, each in claims.items() if name not in names}
            if left and [*claims][-1] in names:
                first = min(left)
                content = left.pop(first)
                left[first] = content
            self.by_path[path] = left

    def shown(self) -> dict[str, str]:
        return {path: [*each.values()][-1] for path, each in self.by_path.items() if each}


def check_bytecode(view: Path, files: dict[str, str]) -> None:
    """Bytecode is beside a file only if it is that file's own."""
    for path, content in files.items():
        found = view / compiled(path)
        if path.endswith(".py") and found.exists():
            assert found.read_text() == f"bytecode of {content}"


@settings(max_examples=60, deadline=None)
@given(STEPS)
@example(  # pip would take the view for a folder of the last one with links to files
    [
        Install([Wheel("a", "1", frozenset({"n/__init__.py"}), False)]),
        Install([Wheel("b", "1", frozenset({"m.py"}), False)]),
        Remove("b", "pip"),
    ]
)
def test_shows_what_copying_would_give(steps: list[Install | Remove]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = make_environment(Path(folder, "environment"))
        site = environment.scheme.purelib
        view = site / manifest.VIEW
        claims = Claims()
        for step in steps:
            if isinstance(step, Install):
                entries = [wheel.entry(Path(folder, "store")) for wheel in step.wheels]
                install(environment, *entries)
                claims.drop({wheel.name for wheel in step.wheels})
                for wheel in step.wheels:
                    claims.add(wheel.name, wheel.contents())
            else:
                remove(environment, step.name, step.by)
                claims.drop({step.name})
            expected = claims.shown()
            assert shown(view) == expected
            check_records(site)
            check_bytecode(view, expected)
        for name in "abcd":
            remove(environment, name, "pip")
        if view.exists():
            assert os.listdir(view) == [KEEPER]


def test_links_as_much_as_possible_at_once(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    one = make_entry(tmp_path, "one", {"n/p/__init__.py": "", "n/p/deep/q/x.py": ""})
    install(environment, one)
    assert os.readlink(site / manifest.VIEW / "n/p") == str(one.tree / "n/p")


def test_a_split_stops_where_the_trees_part(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    files = {"p/__init__.py": "", "p/inner/__init__.py": "", "p/inner/x/y.py": ""}
    one = make_entry(tmp_path, "one", files)
    install(environment, one)
    install(environment, make_entry(tmp_path, "two", {"p/plugin/__init__.py": ""}))
    view = site / manifest.VIEW
    assert not (view / "p").is_symlink()
    assert os.readlink(view / "p/inner") == str(one.tree / "p/inner")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [("x", "x/y.py"), ("x/y.py", "x"), ("n/x", "n/x/y/z.py"), ("x/y/z.py", "x/y")],
)
def test_a_file_where_another_has_a_folder_is_refused(
    environment: Environment, site: Path, tmp_path: Path, there: str, wanted: str
) -> None:
    install(environment, make_entry(tmp_path, "one", {there: ""}))
    before = shown(site / manifest.VIEW)
    with pytest.raises(LinkConflict, match=r"two cannot be linked: (n/)?x"):
        install(environment, make_entry(tmp_path, "two", {wanted: ""}))
    assert shown(site / manifest.VIEW) == before
    with pytest.raises(LinkConflict):
        plan_links(
            [
                Request(make_entry(tmp_path, "two", {wanted: ""})),
                Request(make_entry(tmp_path, "three", {there: ""})),
            ],
            make_environment(tmp_path / "other"),
        )


def test_overridden_files_are_reported(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    one = make_entry(tmp_path, "one", {"tests/__init__.py": "1", "tests/one.py": ""})
    two = make_entry(tmp_path, "two", {"tests/__init__.py": "2", "tests/two.py": ""})
    install(environment, one)
    plan = install(environment, two)
    assert plan.overridden == (("tests/__init__.py", "one", "two"),)
    remove(environment, "one", "pip")
    assert shown(site / manifest.VIEW) == {
        "tests/__init__.py": "2",
        "tests/two.py": "",
    }


def test_a_folder_whose_entry_is_missing_is_not_taken_over(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    one = make_entry(tmp_path, "one", {"p/__init__.py": ""})
    install(environment, one)
    one.root.rename(tmp_path / "lost")
    two = make_entry(tmp_path, "two", {"p/two.py": ""})
    with pytest.raises(InvalidEnvironment, match=r"one 1\.0 .* missing; reinstall it"):
        install(environment, two)
    (tmp_path / "lost").rename(one.root)
    install(environment, two)


def test_links_of_nobody_are_replaced(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    install(environment, make_entry(tmp_path, "kept", {"k.py": ""}))
    view = site / manifest.VIEW
    for name in ("p", "m.py"):
        (view / name).symlink_to(tmp_path / "nowhere")
    (tmp_path / "alien").mkdir()
    (view / "n").symlink_to(tmp_path / "alien")
    files = {"p/q/x.py": "", "m.py": "", "n/q/x.py": ""}
    install(environment, make_entry(tmp_path, "one", files))
    assert shown(view) == {**files, "k.py": ""}
    assert list((tmp_path / "alien").iterdir()) == []


def test_a_manifest_that_was_installed_over_does_not_count(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    install(environment, make_entry(tmp_path, "one", {"p/__init__.py": ""}))
    record = site / "one-1.0.dist-info/RECORD"
    record.write_text("p/__init__.py,,\none-1.0.dist-info/RECORD,,\n")
    install(environment, make_entry(tmp_path, "two", {"p/two.py": ""}))
    assert shown(site / manifest.VIEW) == {"p/two.py": ""}
    assert "view" not in record.read_text()


def test_upgrade_from_a_linked_folder_to_a_namespace_leaves_the_store_alone(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    old = make_entry(tmp_path, "one", {"n/__init__.py": ""}, "1")
    install(environment, old)
    before = sorted(os.listdir(old.tree / "n"))
    install(environment, make_entry(tmp_path, "one", {"n/p/__init__.py": ""}, "2"))
    assert sorted(os.listdir(old.tree / "n")) == before
    assert shown(site / manifest.VIEW) == {"n/p/__init__.py": ""}
