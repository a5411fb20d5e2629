"""Scripts that say what they need (PEP 723): what is read, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import default_environment

from commonwheel import script_header
from commonwheel.environment import Environment
from commonwheel.lock_errors import InvalidScript, ScriptMismatch
from commonwheel.pin import Kind, Pin
from commonwheel.run_place import header_of

PINS = (Pin("one", "1.5", Kind.INDEX), Pin("two", None, Kind.VCS))


def script(folder: Path, *lines: str) -> Path:
    path = folder / "script.py"
    path.write_text("\n".join(("#!/usr/bin/env python", *lines, "")), "utf-8")
    return path


def header(*lines: str) -> list[str]:
    return ["# /// script", *(f"# {line}".rstrip() for line in lines), "# ///"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["# /// script", "# dependencies = ['one']", "print()"],  # not closed
        ["#/// script", "# ///"],
        ["# /// other", "# nonsense", "# ///"],
        ["'''", " # /// script", "# ///", "'''"],
    ],
)
def test_what_is_no_metadata_is_none(tmp_path: Path, lines: list[str]) -> None:
    assert script_header.read(script(tmp_path, *lines)) is None


def test_metadata_is_what_the_block_says_up_to_the_last_line_that_closes_it(
    tmp_path: Path,
) -> None:
    block = header("requires-python = '>=3.8'", "", "dependencies = [", "  'one[x]>=1',")
    lines = [*block[:-1], "# ]", "# description = '''", "# ///", "# '''", "# ///", "#"]
    found = script_header.read(script(tmp_path, "import os", "", *lines, "print()"))
    assert found is not None
    assert str(found.requires_python) == ">=3.8"
    assert [str(each) for each in found.dependencies] == ["one[x]>=1"]


@pytest.mark.parametrize(
    "lines",
    [
        header("dependencies = [")[:],
        header("dependencies = 'one'"),
        header("dependencies = [1]"),
        header("dependencies = ['one two']"),
        header("requires-python = 'three'"),
        [*header(), "", *header()],
    ],
)
def test_metadata_that_cannot_be_understood_is_refused(
    tmp_path: Path, lines: list[str]
) -> None:
    with pytest.raises(InvalidScript, match=r"script\.py cannot be run: "):
        script_header.read(script(tmp_path, *lines))


def test_a_script_in_another_encoding_is_read_in_that(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    text = "# coding: latin-1\n# /// script\n# name = 'caf\xe9'\n# ///\n"
    path.write_bytes(text.encode("latin-1"))
    assert script_header.read(path) is not None
    path.write_bytes(text.replace("coding", "code").encode("latin-1"))
    with pytest.raises(InvalidScript):
        script_header.read(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dependencies = ['One>=1', 'two==7', \"gone; python_version < '3'\"]", None),
        ("dependencies = ['one>=2']", r"one>=2, and its lock has one 1\.5: lock it"),
        ("dependencies = ['three', 'one<1']", r"three, which .* not name; one<1, and"),
        ("requires-python = '<3'", r"needs Python <3, and .* is not: .* --python"),
        ("requires-python = '>=3'", None),
    ],
)
def test_what_the_lock_and_the_interpreter_do_not_have_is_named(
    tmp_path: Path, environment: Environment, line: str, said: str | None
) -> None:
    found = script_header.read(script(tmp_path, *header(line)))
    assert found is not None
    environment = replace(environment, markers=default_environment())
    if said is None:
        found.check(PINS, environment)
        return
    with pytest.raises(ScriptMismatch, match=said):
        found.check(PINS, environment)


def test_the_quick_reading_changes_with_the_metadata_and_with_nothing_else(
    tmp_path: Path,
) -> None:
    def quick(*lines: str) -> bytes:
        return header_of(str(script(tmp_path, *lines)))

    one = quick(*header("dependencies = []"), "", "print(1)")
    assert one
    assert quick("# about", "", *header("dependencies = []"), "", "print(2)") == one
    assert quick(*header("dependencies = ['one']"), "", "print(1)") != one
    assert quick(*header("dependencies = []"), "", *header()) != one
    assert quick("# dependencies = []") == b""
