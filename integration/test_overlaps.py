"""Distributions that share folders, or have the same file, whatever their link modes.

What can be imported is compared with what pip's own copies give, where those are right:
after one of two is uninstalled, its files must be gone and the other's be there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import Environment, assert_untouched, store_contents
from wheelhouse import write_wheel

Make = Callable[..., Environment]

PKGUTIL = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
PKG_RESOURCES = (
    "try:\n    __import__('pkg_resources').declare_namespace(__name__)\n"
    f"except ImportError:\n    {PKGUTIL}"
)
KINDS = {
    "namespace": ({"s/one.py": ""}, {"s/two.py": ""}),
    "nested namespace": ({"s/t/one/__init__.py": ""}, {"s/t/two/__init__.py": ""}),
    "pkgutil": (
        {"s/__init__.py": PKGUTIL, "s/one.py": ""},
        {"s/__init__.py": PKGUTIL, "s/two.py": ""},
    ),
    "pkg_resources": (
        {"s/__init__.py": PKG_RESOURCES, "s/one.py": ""},
        {"s/__init__.py": PKG_RESOURCES, "s/two.py": ""},
    ),
    "regular": (
        {"s/__init__.py": "", "s/one.py": ""},
        {"s/two.py": ""},
    ),
    "nested regular": (
        {"s/__init__.py": "", "s/t/__init__.py": "", "s/t/one.py": ""},
        {"s/t/two.py": "", "s/two/__init__.py": ""},
    ),
}
MODES = ("manifest", "copy")
FOUND = (
    "import json, pkgutil, s; walked = pkgutil.walk_packages(s.__path__, 's.');"
    "names = sorted({each.name for each in walked});"
    "[__import__(name) for name in names]; print(json.dumps(names))"
)


@pytest.fixture
def shared(make: Make) -> Environment:
    return make()


@pytest.mark.parametrize("kind", KINDS)
def test_shared_folders_are_one_in_every_mode_and_order(
    kind: str, shared: Environment, make: Make, tmp_path: Path
) -> None:
    files = dict(zip(("one", "two"), KINDS[kind], strict=True))
    for name, contents in files.items():
        write_wheel(tmp_path, name, "1.0", contents)
    plain = make("plain")
    plain.install("one", "two", wheels=tmp_path, linked=False)
    alone = {}
    for name, contents in files.items():
        other = make(f"only-{name}")
        other.install(name, wheels=tmp_path, linked=False)
        alone[name] = other.json(FOUND) if "s/__init__.py" in contents else None
    for first, second in itertools.permutations(files):
        for modes in itertools.product(MODES, MODES):
            for name, mode in zip((first, second), modes, strict=True):
                option = f"--shared-store-link-mode={mode}"
                shared.install(option, name, wheels=tmp_path)
            assert shared.json(FOUND) == plain.json(FOUND), (first, modes)
            shared.pip("uninstall", "-y", first)
            # pip takes a file of two copies away with the first of them
            if alone[second] is not None and modes == ("manifest", "manifest"):
                assert shared.json(FOUND) == alone[second], (first, modes)
            shared.pip("uninstall", "-y", second)
            for contents in files.values():
                *_, last = contents  # it alone has this one
                module = last.removesuffix(".py").removesuffix("/__init__")
                assert not shared.can_import(module.replace("/", ".")), (first, modes)


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    """Wheels of two distributions that have a file in common."""
    for name in ("one", "two"):
        for version in ("1.0", "2.0"):
            who = f"who = '{name} {version}'\n"
            files = {"s/__init__.py": who, f"s/{name}.py": "", "same.py": who}
            write_wheel(tmp_path, name, version, files)
    return tmp_path


WHO = "import s, same; print(s.who, same.who, sep=', ')"


def test_the_later_of_two_wins_and_a_warning_names_both(
    shared: Environment, claims: Path
) -> None:
    shared.install("one==1.0", wheels=claims)
    said = shared.install("two==1.0", wheels=claims).stderr
    assert "WARNING: s/__init__.py is in one and in two; the latter's is used" in said
    assert "WARNING: same.py is in one and in two; the latter's is used" in said
    assert shared.code(WHO) == "two 1.0, two 1.0"


@pytest.mark.parametrize("modes", [*itertools.product(MODES, MODES)], ids="-".join)
def test_the_later_of_two_wins_in_every_mode(
    modes: tuple[str, str], shared: Environment, claims: Path
) -> None:
    for name, mode in zip(("one", "two"), modes, strict=True):
        option = f"--shared-store-link-mode={mode}"
        said = shared.install(option, f"{name}==1.0", wheels=claims).stderr
    assert "same.py is in one and in two; the latter's is used" in said
    assert shared.code(WHO) == "two 1.0, two 1.0"
    assert shared.code("import s.one, s.two") == ""


def test_uninstalling_one_of_two_leaves_the_other_whole(
    shared: Environment, claims: Path
) -> None:
    shared.install("one==1.0", wheels=claims)
    shared.install("two==1.0", wheels=claims)
    contents = store_contents(shared.store)
    shared.pip("uninstall", "-y", "two")
    assert shared.code(WHO) == "one 1.0, one 1.0"
    assert shared.code("import s.one") == ""
    assert not shared.can_import("s.two")
    shared.install("two==1.0", wheels=claims)
    shared.pip("uninstall", "-y", "one")
    assert shared.code(WHO) == "two 1.0, two 1.0"
    shared.pip("uninstall", "-y", "two")
    assert not shared.can_import("same")
    left = {each.name for each in shared.site.glob("_commonwheel/view/*")}
    assert left == {".commonwheel"}
    assert_untouched(shared.store, contents)


def test_upgrading_one_of_two_leaves_the_other_whole(
    shared: Environment, claims: Path
) -> None:
    shared.install("one==1.0", wheels=claims)
    shared.install("two==1.0", wheels=claims)
    shared.install("one==2.0", wheels=claims)
    assert shared.code(WHO) == "one 2.0, one 2.0"
    # without the shared store pip removes what was linked, and copies
    shared.install("one==1.0", wheels=claims, linked=False)
    shared.pip("uninstall", "-y", "one")
    assert shared.code(WHO) == "two 1.0, two 1.0"


def test_what_pip_alone_has_left_hidden_the_next_command_shows(
    shared: Environment, claims: Path
) -> None:
    shared.install("one==1.0", wheels=claims)
    shared.install("two==1.0", wheels=claims)
    isolated = ["-I", "-S", "-c"]
    without_us = (
        f"import sys; sys.path.append({str(shared.site)!r});"
        "from pip._internal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    shared.run(shared.python, *isolated, without_us, "uninstall", "-y", "two")
    assert not shared.can_import("same")
    shared.run(shared.path / "bin/commonwheel", "install", "--python", shared.python)
    assert shared.code(WHO) == "one 1.0, one 1.0"
