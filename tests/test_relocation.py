"""Relocation: what says where an environment is says where it will be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel import relocation, scripts
from commonwheel.relocation import Relocation

FOLDERS = ["plain", "with space", "a 'quoted\" $HOME `x`", "naïve 包", "long-" * 40]
PRINT = b"import sys\nprint(sys.argv[1:])\nsys.exit(3)\n"
HERE = Path("/env/bin")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """One with an interpreter, at a place that it is moved away from."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("arguments", [b"", b"-I"])
def test_relocatable_scripts_run_wherever_they_are_moved(
    environment: Path, tmp_path: Path, folder: str, arguments: bytes
) -> None:
    script = environment / "bin/tool"
    script.write_bytes(scripts.relocatable_line("python", arguments) + PRINT)
    script.chmod(0o755)
    moved = tmp_path / folder / "there"
    moved.parent.mkdir()
    shutil.move(environment, moved)
    link = tmp_path / "link to it"
    link.symlink_to(moved / "bin/tool")
    (tmp_path / "bin").mkdir()
    for command, where in ((moved / "bin/tool", "/"), (link, "/"), ("bin/tool", moved)):
        done = subprocess.run(
            [command, "a b", "$c"], cwd=where, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (3, "['a b', '$c']\n"), done.stderr


@pytest.mark.parametrize("python", ["/env/bin/python", "/" + "long " * 40 + "/python"])
@pytest.mark.parametrize("arguments", [b"", b"-I"])
def test_what_a_script_names_is_what_was_written(python: str, arguments: bytes) -> None:
    line = scripts.interpreter_line(Path(python), arguments)
    assert scripts.split(line + PRINT) == (Path(python), arguments, PRINT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"#!/usr/bin/env python\n",
        b"#!/usr/bin/python3\nimport sys\n",
        b"#!/bin/sh\necho /env/bin/python\n",
        b"#!/bin/sh\n'''exec' 'unclosed \"$0\" \"$@\"\n' '''\n",
        scripts.relocatable_line("python") + PRINT,
    ],
)
def test_what_names_no_interpreter_of_the_environment_stays_as_it_is(
    content: bytes,
) -> None:
    assert Relocation({HERE}, "bin").script(content) == content
    assert Relocation({HERE}, "bin", Path("/opt/app")).script(content) == content


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_scripts_name_the_prefix(end: bytes) -> None:
    script = b"#!/env/bin/python3.12 -E" + end + PRINT
    found = Relocation({HERE}, "bin", Path("/opt/app")).script(script)
    assert found == b"#!/opt/app/bin/python3.12 -E\n" + PRINT


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "sh"])
@pytest.mark.parametrize("fixed", [False, True])
def test_activating_and_deactivating(
    environment: Path, tmp_path: Path, shell: str, fixed: bool
) -> None:
    if shutil.which(shell) is None:
        shell = "sh"
    if shell == "sh" and not fixed:
        return  # it does not say which file it reads
    moved = tmp_path / "it's $there"
    made = Relocation({HERE}, "bin", moved if fixed else None).activation()
    for name, content in made.items():
        (environment / "bin" / name).write_bytes(content)
    shutil.move(environment, moved)
    name = "activate.fish" if shell == "fish" else "activate"
    code = (
        f'. "$1/bin/{name}"; command -v python; python -c \'import sys;'
        " print(sys.prefix)'; echo $VIRTUAL_ENV; deactivate; command -v python;"
        " echo $VIRTUAL_ENV"
    )
    if shell == "fish":
        code = code.replace("$1", "$argv[1]")
    options = ["--no-config"] if shell == "fish" else []
    between = [] if shell == "fish" else [shell]
    done = subprocess.run(
        [shell, *options, "-c", code, *between, moved],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CDPATH": "/usr"},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    python, prefix, named, *after = done.stdout.splitlines()
    assert python == str(moved / "bin/python")
    assert (prefix, named) == (str(moved), str(moved))
    assert after[-1] == ""
    assert str(moved) not in "".join(after)


def test_the_configuration_says_nothing_of_where_it_was_made() -> None:
    text = (
        "home = /usr/bin\nInclude-System-Site-Packages = TRUE\nversion = 3.12.1\n"
        "executable = /usr/bin/python3.12\nbase-prefix = /usr\n"
        "command = /usr/bin/python3 -m venv /secret\n"
    )
    found = relocation.configuration(text)
    assert found.splitlines() == text.splitlines()[:-1]
    assert relocation.has_system_packages(found)
    there = relocation.configuration(text, Path("/opt/py/bin/python3.12"))
    assert "home = /opt/py/bin\n" in there
    assert "executable = /opt/py/bin/python3.12\n" in there
    assert "/usr" not in there
