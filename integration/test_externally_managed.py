"""An interpreter that somebody else manages (PEP 668), and what may be done to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from environments import Environment, tree
from wheelhouse import NEWEST_PIP, Wheelhouse, write_wheel

MARKER = """[externally-managed]
Error=The distribution installs packages here.

 Ask it.
"""
BREAK = "--break-system-packages"


@pytest.fixture
def managed(tmp_path: Path, environment: Environment, python: Path) -> Path:
    """A base interpreter with a library of its own, which is marked."""
    root = tmp_path / "managed"
    code = "import sys, sysconfig; print(sysconfig.get_path('stdlib'), sys.base_prefix)"
    library, prefix = environment.run(python, "-c", code).stdout.split()
    ours = root / Path(library).relative_to(prefix)
    (ours / "site-packages").mkdir(parents=True)
    for path in Path(library).iterdir():
        if path.name not in ("site-packages", "EXTERNALLY-MANAGED"):
            (ours / path.name).symlink_to(path)
    for path in Path(prefix, "lib").glob("libpython*"):
        (ours.parent / path.name).symlink_to(path)
    (root / "bin").mkdir()
    program = Path(shutil.copy(python.resolve(), root / "bin" / python.name))
    found = environment.run(program, "-c", code).stdout.split()
    assert found == [str(ours), str(root)]
    (ours / "EXTERNALLY-MANAGED").write_text(MARKER)
    return program


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path / "wheels", "given", "1.0", {"given.py": "ok = 1\n"})


def commonwheel(environment: Environment, *arguments: object) -> tuple[int, str]:
    """Run commonwheel; gives the exit status and what it says."""
    program = environment.path / "bin/commonwheel"
    done = environment.run(program, *arguments, check=False)
    return done.returncode, done.stderr


def test_ask_20_commands_leave_it_alone_unless_they_are_told_not_to(
    environment: Environment, managed: Path, wheel: Path, tmp_path: Path
) -> None:
    before = tree(managed.parent.parent)
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"given @ {wheel.as_uri()}\n")
    commands = (
        ("install", "--python", managed, wheel),
        ("sync", "--python", managed, lock),
        ("uninstall", "--python", managed, "given"),
        ("enable", managed),
    )
    for command in commands:
        status, said = commonwheel(environment, *command)
        assert status == 1
        assert "(The distribution installs packages here.)" in said
        assert said.count("\n") == 1
    assert tree(managed.parent.parent) == before
    imports = (managed, "-c", "import given; print(given.ok)")
    for command in commands[:2]:
        verb, *others = command
        assert commonwheel(environment, verb, BREAK, *others)[0] == 0
        assert environment.run(*imports).stdout == "1\n"
        assert commonwheel(environment, "uninstall", BREAK, *commands[2][1:])[0] == 0
        assert environment.run(*imports, check=False).returncode == 1


def test_ask_20_the_way_out_is_a_virtual_environment(
    environment: Environment, managed: Path, wheel: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "way-out"
    command = ("venv", "--no-pip", "--python", managed, folder)
    assert commonwheel(environment, *command)[0] == 0
    assert commonwheel(environment, "install", "--python", folder, wheel)[0] == 0
    imports = (folder / "bin/python", "-c", "import given; print(given.ok)")
    assert environment.run(*imports).stdout == "1\n"


def test_ask_20_pip_does_there_what_it_does_without_the_store(
    environment: Environment, managed: Path, wheel: Path, wheelhouse: Wheelhouse
) -> None:
    (site,) = managed.parent.parent.glob("lib/*/site-packages")
    shutil.unpack_archive(wheelhouse.pip(NEWEST_PIP), site, "zip")
    assert commonwheel(environment, "enable", BREAK, managed)[0] == 0
    pip = (managed, "-m", "pip")
    install = (*pip, "install", "--no-index", "--find-links", wheel.parent, "given")
    said = []
    for shared in ((), ("--use-shared-store",)):
        refused = environment.run(*install, *shared, check=False)
        assert refused.returncode == 1
        said.append(refused.stderr)
        assert "error: externally-managed-environment" in refused.stderr
        environment.run(*install, *shared, BREAK)
        linked = site / "_commonwheel/links/given.link"
        assert linked.exists() == bool(shared)
        imports = environment.run(managed, "-c", "import given; print(given.ok)")
        assert imports.stdout == "1\n"
        refused = environment.run(*pip, "uninstall", "-y", "given", check=False)
        assert "error: externally-managed-environment" in refused.stderr
        environment.run(*pip, "uninstall", "-y", "given", BREAK)
        assert not os.path.lexists(site / "_commonwheel/view/given.py")
    assert said[0] == said[1]
