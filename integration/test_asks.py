"""What people asked for, row by row of docs/asks.md; other files have the rest of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import interpreters
from environments import Environment, Templates
from wheelhouse import CHECKOUT, NEWEST_PIP, write_wheel

Make = Callable[..., Environment]

MANY = 60
"""Distributions: enough for a cost of each of them to show."""


def test_every_row_has_its_tests() -> None:
    page = (CHECKOUT / "docs/asks.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 23)]
    sources = [
        path.read_text("utf-8")
        for folder in ("tests", "integration")
        for path in (CHECKOUT / folder).glob("test_*.py")
    ]
    tested = {
        int(n) for text in sources for n in re.findall(r"def test_ask_(\d+)_", text)
    }
    assert tested == set(range(1, 23))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Wheels of many distributions, each a package of its own."""
    folder = tmp_path / "many"
    for number in range(MANY):
        name = f"many{number}"
        write_wheel(folder, name, "1.0", {f"{name}/__init__.py": f"value = {number}\n"})
    return folder


def test_ask_07_the_search_path_does_not_grow_and_links_hold_no_code(
    environment: Environment, many: Path
) -> None:
    path = "import json, sys; print(json.dumps(sys.path))"
    environment.install("many0", wheels=many)
    before = environment.json(path)
    environment.install(*many.glob("*.whl"))
    assert environment.json(path) == before
    assert environment.code("import many59; print(many59.value)") == "59"
    for link in (environment.site / "_commonwheel/links").iterdir():
        lines = link.read_text().splitlines()
        assert all(re.match(r"(commonwheel|[a-z0-9]+): \S", line) for line in lines)


def test_ask_08_executables_belong_to_their_environment(
    make: Make, tmp_path: Path
) -> None:
    wheel = write_wheel(
        tmp_path / "wheels",
        "tool",
        "1.0",
        {"tool.py": "import sys\ndef main():\n    print(sys.prefix)\n"},
        entry_points="[console_scripts]\ntool = tool:main\n",
    )
    environments = [make("one"), make("two")]
    for each in environments:
        each.install(wheel)
    for each in environments:
        script = each.path / "bin/tool"
        assert script.is_file()
        assert not script.is_symlink()
        # not activated: it finds its environment by itself
        assert each.run(script).stdout.strip() == str(each.path)
    environments[0].pip("uninstall", "-y", "tool")
    assert not (environments[0].path / "bin/tool").exists()
    assert environments[1].run(environments[1].path / "bin/tool").returncode == 0


def test_ask_15_looking_for_hundreds_of_packages_costs_what_it_costs_without_links(
    make: Make, many: Path, tmp_path: Path
) -> None:
    code = "import " + ", ".join(f"many{number}" for number in range(MANY))
    found = {}
    for name, linked in (("linked", True), ("copied", False)):
        environment = make(name)
        environment.install(*many.glob("*.whl"), linked=linked)
        environment.code(code)
        trace = tmp_path / f"{name}.trace"
        count = ["strace", "-f", "-e", "trace=file", "-o", trace]
        environment.run(*count, environment.python, "-c", code)
        found[name] = len(trace.read_text().splitlines())
    print(f"system calls on files, {MANY} imports: {found}")
    assert found["linked"] <= found["copied"] * 1.25


@pytest.mark.parametrize("tag", ["py3-none-any", "cp39-abi3-linux_x86_64"])
def test_ask_16_a_wheel_of_several_pythons_is_stored_once_with_bytecode_for_each(
    tag: str, templates: Templates, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path, "wide", "1.0", {"wide.py": "value = 1\n"}, tag=tag)
    store = tmp_path / "store"
    for version in ("3.10", "3.13"):
        python = interpreters.require(version)
        path = tmp_path / version
        environment = templates.make(path, python, NEWEST_PIP, store=store)
        environment.install(wheel)
        assert environment.code("import wide; print(wide.value)") == "1"
    (entry,) = (store / "entries").iterdir()
    found = {path.name for path in entry.glob("tree/__pycache__/*")}
    assert found == {"wide.cpython-310.pyc", "wide.cpython-313.pyc"}


def test_ask_19_the_frontend_decides_and_the_store_alone_is_a_choice(
    environment: Environment, make: Make, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    old = write_wheel(index, "thing", "1.0", {"thing.py": "value = 1\n"})
    environment.install("thing", wheels=index)
    # what is in the store does not change what pip chooses
    write_wheel(index, "thing", "2.0", {"thing.py": "value = 2\n"})
    other = make("other")
    other.install("thing", wheels=index)
    assert other.code("import thing; print(thing.value)") == "2"
    # nor is it an index
    third = make("third")
    refused = third.install("thing", check=False)
    assert refused.returncode == 1
    assert "No matching distribution" in refused.stderr
    # a lock of what is in the store needs nothing else
    lock = tmp_path / "requirements.txt"
    digest = hashlib.sha256(old.read_bytes()).hexdigest()
    lock.write_text(f"thing==1.0 --hash=sha256:{digest}\n")
    for wheel in index.iterdir():
        wheel.unlink()
    command = third.path / "bin/commonwheel"
    plan = third.run(command, "sync", "--dry-run", "--json", "--inexact", lock).stdout
    assert [each["from"] for each in json.loads(plan)["installed"]] == ["store"]
    third.run(command, "sync", "--inexact", lock)
    assert third.code("import thing; print(thing.value)") == "1"
