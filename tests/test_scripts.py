"""Scripts run, whatever the path of the interpreter is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel import scripts

LONG = "long-" * 30


@pytest.mark.parametrize(
    ("folder", "direct"),
    [
        ("plain", True),
        ("$HOME", True),
        ("with space", False),
        ("with\ttab", False),
        ("with\nbreak", False),
        ("a 'quoted\" $HOME `x`", False),
        ("naïve 包", False),
        (LONG, False),
        (f"{LONG} '$x'", False),
    ],
)
def test_generated_scripts_run(tmp_path: Path, folder: str, direct: bool) -> None:
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    if len(str(python)) < 120:
        assert scripts.interpreter_line(python).startswith(b"#!/bin/sh") != direct
    (tmp_path / "tool.py").write_text(
        "import sys\nclass main:\n  @staticmethod\n"
        "  def run(): print(sys.argv[1:]); return 3\n"
    )
    name, content = scripts.generate(
        "tool-it", "tool", "main.run", False, python, scripts.TEMPLATE
    )
    script = tmp_path / name
    script.write_bytes(content)
    script.chmod(0o755)
    done = subprocess.run(
        [script, "a b", "$c"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (3, "['a b', '$c']\n"), done.stderr


@pytest.mark.parametrize("length", [123, 124, 125])
def test_the_longest_line_that_kernels_take(length: int) -> None:
    python = Path("/" + "x" * (length - 1))
    line = scripts.interpreter_line(python)
    assert line.startswith(b"#!/bin/sh") == (length > 124)
    assert all(len(each) < 127 for each in line.splitlines()[:1])


def test_a_name_without_a_folder_is_looked_for_when_the_script_is_run() -> None:
    for name in ("python3.12", "pypy3", "python3.13t"):
        line = scripts.interpreter_line(Path(name))
        assert line == f"#!/usr/bin/env {name}\n".encode()


def test_names_are_bytes() -> None:
    assert scripts.interpreter_line(Path("/\udcff/python")) == b"#!/\xff/python\n"


@pytest.mark.parametrize("first", [b"#!python", b"#!pythonw", b"#!python -E"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_scripts_of_the_wheel_get_the_interpreter(first: bytes, end: bytes) -> None:
    rest = b"\xff binary\r\n"
    adapted = scripts.adapt(first + end + rest, Path("/env/bin/python"))
    assert adapted == b"#!/env/bin/python\n" + rest


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b" #!python\n"])
def test_other_scripts_stay_as_they_are(content: bytes) -> None:
    assert scripts.adapt(content, Path("/env/bin/python")) == content


def test_wrappers_of_setuptools() -> None:
    for name in ("tool", "tool.exe", "tool.EXE", "tool-script.py", "tool-script.pyw"):
        assert scripts.entry_point_of(name) == "tool"
    assert scripts.entry_point_of("tool.py") == "tool.py"
