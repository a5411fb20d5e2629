"""What an environment is given besides links: the runtime and what starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel import runtime
from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.plan import plan_links
from commonwheel.store import Store
from conftest import CACHE_TAG
from wheel_file import write_wheel


@pytest.fixture
def linked(tmp_path: Path, environment: Environment, store: Store) -> Environment:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    install_wheels([WheelRequest(wheel)], environment, store)
    return environment


@pytest.mark.parametrize(
    ("version", "imports", "entry"),
    [("3.9.18", True, False), ("3.17.0", True, False), ("3.18.0", False, True)],
)
def test_each_python_is_given_the_start_up_file_that_it_runs(
    version: str, imports: bool, entry: bool
) -> None:
    files = runtime.files(version, Path("/x"))
    assert (b"import" in files["00_commonwheel.pth"]) is imports
    assert ("00_commonwheel.start" in files) is entry
    assert files["00_commonwheel.pth"].endswith(b"_commonwheel/view\n")


def test_a_current_runtime_is_not_written_again(
    linked: Environment, store: Store, compiler: Compiler
) -> None:
    bytecode = store.bytecode_of_runtime(compiler)
    assert plan_links([], linked, runtime_bytecode=bytecode).runtime == ()


def test_a_start_never_compiles_the_runtime(linked: Environment, site: Path) -> None:
    code = (
        "import sys, site; seen = []\n"
        "sys.addaudithook(lambda e, a: e == 'compile' and seen.append(a[1]))\n"
        f"site.addsitedir({str(site)!r}); import _commonwheel\n"
        "sys.exit(any('_commonwheel.py' in str(name) for name in seen))"
    )
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], check=True)


def test_the_runtime_is_compiled_once_for_all_environments(
    store: Store, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.bytecode_of_runtime(compiler)
    monkeypatch.delattr(Compiler, "compile")
    assert Store(store.root).bytecode_of_runtime(compiler) == first
    (kept,) = (store.root / "runtime").iterdir()
    assert kept.name.endswith(f".{CACHE_TAG}.pyc")


def test_nothing_is_written_into_an_environment_without_links(
    environment: Environment, store: Store, site: Path
) -> None:
    install_wheels([], environment, store)
    assert list(site.iterdir()) == []
