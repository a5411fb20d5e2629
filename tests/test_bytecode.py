"""Bytecode is made by the interpreter that will import it."""

from __future__ import annotations

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
    with pytest.raises(OSError, match="FileNotFoundError"):
        compiler.compile(tmp_path, ["gone.py"], tmp_path)
    (tmp_path / "__pycache__").write_text("in the way")
    with pytest.raises(OSError, match=r"Error: .*__pycache__"):
        compiler.compile(tmp_path, ["a.py"], tmp_path)
    for python in ("/nowhere", "/bin/false"):
        with pytest.raises(InvalidEnvironment, match=python):
            Compiler(Path(python), CACHE_TAG).compile(tmp_path, ["a.py"], tmp_path)


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
