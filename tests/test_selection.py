"""Selection: names -> the newest that a store has, which all who require it allow."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import default_environment

from commonwheel.environment import Environment
from commonwheel.errors import InvalidSetting
from commonwheel.lock_errors import NothingFits
from commonwheel.selection import requirements, select
from commonwheel.store import Store
from wheel_file import write_wheel

Has = Callable[..., None]
Chosen = Callable[..., list[str]]
TAGS = ("cp39-cp39-linux_x86_64", "py3-none-any")


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return replace(environment, tags=TAGS, markers=default_environment())


@pytest.fixture
def has(tmp_path: Path, store: Store) -> Has:
    """Puts a wheel into the store: ``has("one", "1.0", "two>=2")``."""

    def put(
        name: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        python: str = ">=3",
    ) -> None:
        lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
        lines += f"Requires-Python: {python}\n"
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}"
        files = {f"{name}.py": f"tag = '{tag}'"}
        metadata = {"METADATA": text}
        store.add(
            write_wheel(tmp_path, files, name, version, tag=tag, metadata=metadata), None
        )

    return put


@pytest.fixture
def chosen(environment: Environment, store: Store) -> Chosen:
    def choose(*names: str) -> list[str]:
        found = select(requirements(names), environment, store)
        return [f"{e.description.name} {e.description.version}" for e in found]

    return choose


def test_the_newest_that_everybody_allows_with_what_it_requires(
    has: Has, chosen: Chosen
) -> None:
    for version in ("1.0", "2.0", "10.0", "11.0rc1"):
        has("two", version)
    has("one", "1.0")
    has("one", "2.0", "two<10", "three; extra == 'more'", "four; python_version < '3'")
    has("three", "1.0", "Two!=2.0")
    assert chosen("one") == ["one 2.0", "two 2.0"]
    assert chosen("one==1.*", "TWO") == ["one 1.0", "two 10.0"]
    assert chosen("two>=11.0rc1") == ["two 11.0rc1"]
    assert chosen("one[more]") == ["one 2.0", "three 1.0", "two 1.0"]
    assert chosen("one; python_version < '3'") == []


def test_only_what_the_interpreter_supports_and_of_that_the_best(
    has: Has, environment: Environment, store: Store
) -> None:
    has("one", "1.0")
    has("one", "1.0", tag=TAGS[0])
    has("one", "2.0", tag="cp27-cp27m-win32")
    has("one", "3.0", python="<3")
    (found,) = select(requirements(["one"]), environment, store)
    assert found.description.tags == (TAGS[0],)
    other = replace(environment, tags=TAGS[1:])
    (found,) = select(requirements(["one"]), other, store)
    assert found.description.tags == (TAGS[1],)


def test_two_that_require_each_other_are_chosen(has: Has, chosen: Chosen) -> None:
    has("one", "1.0", "two[x]")
    has("two", "1.0", "one; extra == 'x'")
    assert chosen("one") == ["one 1.0", "two 1.0"]


def test_what_is_lacking_is_named_with_who_wants_it_and_what_there_is(
    has: Has, chosen: Chosen
) -> None:
    has("one", "1.0", "two>=2", "three")
    has("two", "1.0")
    with pytest.raises(NothingFits) as caught:
        chosen("one", "two<1.5")
    said = str(caught.value)
    assert "two<1.5 and two>=2 of one 1.0 (there is 1.0)" in said
    assert "three of one 1.0 (there is none for this Python)" in said
    assert "one (" not in said


def test_a_choice_that_excludes_itself_is_refused(has: Has, chosen: Chosen) -> None:
    has("one", "1.0")
    has("one", "2.0", "two")
    has("two", "1.0", "one<2")
    with pytest.raises(NothingFits, match="one"):
        chosen("one")


@pytest.mark.parametrize("name", ["one two", "", "one @ https://host/one.whl"])
def test_what_is_no_name_is_refused(chosen: Chosen, name: str) -> None:
    with pytest.raises(InvalidSetting):
        chosen(name)


def test_markers_are_those_of_the_environment(
    has: Has, environment: Environment, store: Store
) -> None:
    has("one", "1.0", f"two; platform_machine != '{platform.machine()}'")
    markers = {**environment.markers, "platform_machine": "another"}
    with pytest.raises(NothingFits, match="two of one"):
        select(requirements(["one"]), replace(environment, markers=markers), store)
    assert len(select(requirements(["one"]), environment, store)) == 1
