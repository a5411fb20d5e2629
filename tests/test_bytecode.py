"""Bytecode is made by the interpreter that will import it."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from commonwheel import bytecode
from commonwheel.bytecode import Compiler
from commonwheel.errors import InvalidEnvironment
from conftest import CACHE_TAG
from entries import compiled, write


@pytest.mark.parametrize("processors", [1, 3])
def test_every_file_is_compiled(
    compiler: Compiler,
    tmp_path: Path,
    processors: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bytecode, "_processors", lambda: processors)
    names = [f"p{number}/naïve 包\t{number}.py" for number in range(100)]
    write(tmp_path / "tree", dict.fromkeys(names, "x = 1"))
    (tmp_path / "out").mkdir()
    compiler.compile(tmp_path / "tree", names, tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("*.pyc")}
    assert found == {compiled(name) for name in names}


def test_what_does_not_compile_is_passed_over(compiler: Compiler, tmp_path: Path) -> None:
    sources = {
        "syntax.py": "def (",
        "nul.py": "\0",
        "deep.py": "(" * 500 + ")" * 500,
        "invalid.py": "'\\d'; 1 is 1",
        "good.py": "",
    }
    write(tmp_path, sources)
    (tmp_path / "latin.py").write_bytes(b"'\xff'")
    compiler.compile(tmp_path, [*sources, "latin.py"], tmp_path)
    names = {path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")}
    assert names == {"good", "invalid"}


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    Compiler(Path("/nowhere"), CACHE_TAG).compile(tmp_path, [], tmp_path)


def test_failures_are_told_apart(compiler: Compiler, tmp_path: Path) -> None:
    write(tmp_path, {"a.py": ""})
    with pytest.raises(FileNotFoundError, match=r"gone\.py"):
        compiler.compile(tmp_path, ["gone.py"], tmp_path)
    (tmp_path / "__pycache__").write_text("in the way")
    with pytest.raises(OSError, match=r"\[Errno .*__pycache__"):
        compiler.compile(tmp_path, ["a.py"], tmp_path)
    for python in ("/nowhere", "/bin/false"):
        with pytest.raises(InvalidEnvironment, match=python):
            Compiler(Path(python), CACHE_TAG).compile(tmp_path, ["a.py"], tmp_path)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("kill -KILL $$", "cannot compile bytecode: it was killed, .* out of memory"),
        ("kill -SEGV $$", r"killed \(SIGSEGV\)"),
        ("echo 'x: broken' >&2; exit 1", "cannot compile bytecode: x: broken"),
    ],
)
def test_a_compiler_that_ends_is_told(tmp_path: Path, program: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    with pytest.raises(InvalidEnvironment, match=said):
        Compiler(python, CACHE_TAG).compile(tmp_path, ["a.py"], tmp_path)


@pytest.mark.parametrize(
    ("limit", "number"),
    [("-f 1", errno.EFBIG), ("-v 60000", errno.ENOMEM)],
)
def test_what_the_compiler_lacks_is_an_error_of_the_system(
    tmp_path: Path, limit: str, number: int
) -> None:
    """Not a file that is passed over, as one that does not compile."""
    write(tmp_path, {"a.py": "x = [\n" + "'a', b'c', 1,\n" * 40_000 + "]"})
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit {limit}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    with pytest.raises(OSError, match=r"\[Errno") as failed:
        Compiler(python, CACHE_TAG).compile(tmp_path, ["a.py"], tmp_path)
    assert failed.value.errno == number


def test_no_temporary_folder_is_needed(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    write(tmp_path, {"a.py": ""})
    compiler.compile(tmp_path, ["a.py"], tmp_path)
    assert (tmp_path / compiled("a.py")).exists()


def test_settings_of_the_user_do_not_matter(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    write(tmp_path, {"a.py": "assert '\\d'"})
    compiler.compile(tmp_path, ["a.py"], tmp_path)
    assert (tmp_path / compiled("a.py")).exists()
    assert sys.implementation.cache_tag == compiler.cache_tag
