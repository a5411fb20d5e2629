"""What environments that are served from outside are given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel.environment import Environment
from commonwheel.errors import InvalidStore
from commonwheel.frontends import pip_files
from commonwheel.store import Store
from entries import write
from folders import snapshot

WAITING = "'_CommonwheelPipFinder' in [getattr(f, '__name__', '') for f in sys.meta_path]"


def started(site: Path, code: str) -> str:
    """What code prints in an interpreter with the site-packages folder ``site``."""
    start = f"import site, sys; site.addsitedir({str(site)!r}); {code}"
    command = [sys.executable, "-I", "-S", "-c", start]
    return subprocess.check_output(command, text=True).strip()


@pytest.fixture
def enabled(environment: Environment, store: Store, site: Path) -> Path:
    write(site, {"pip/__init__.py": "", "pip/_internal/__init__.py": ""})
    pip_files.enable(environment, store)
    return site


def test_the_files_run_when_pip_is_imported_and_not_before(enabled: Path) -> None:
    assert started(enabled, f"print({WAITING})") == "False"
    assert started(enabled, f"import pip; print({WAITING})") == "False"
    assert started(enabled, f"import pip._internal; print({WAITING})") == "True"


def test_pip_works_whatever_became_of_the_files(enabled: Path) -> None:
    start = enabled / "_commonwheel/_commonwheel_pip.py"
    code = f"import pip._internal; print({WAITING})"
    start.write_text("import nothing_that_exists")
    assert started(enabled, code) == "False"
    start.unlink()
    assert started(enabled, code) == "False"


def test_files_that_are_there_are_not_written_again(
    enabled: Path, environment: Environment, store: Store
) -> None:
    assert pip_files.are_in(enabled)
    before = snapshot(enabled)
    times = {path: path.stat().st_mtime_ns for path in enabled.rglob("*.py")}
    pip_files.enable(environment, store)
    assert snapshot(enabled) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.parametrize(
    "name", ["_commonwheel_pip.py", "pip_hook.py", "pip_client.py", "host"]
)
def test_files_of_another_commonwheel_are_replaced(
    name: str, enabled: Path, environment: Environment, store: Store
) -> None:
    path = enabled / "_commonwheel" / name
    mine = path.read_bytes()
    path.write_bytes(b"another's")
    assert not pip_files.are_in(enabled)
    pip_files.enable(environment, store)
    assert path.read_bytes() == mine
    path.unlink()
    assert not pip_files.are_in(enabled)


def test_the_store_is_the_one_that_pip_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONWHEEL_STORE", str(tmp_path / "mine"))
    given = {"COMMONWHEEL_STORE": str(tmp_path / "ours")}
    assert pip_files.store_of({}).root == tmp_path / "mine"
    assert pip_files.store_of(given).root == tmp_path / "ours"
    given["PIP_SHARED_STORE_PATH"] = str(tmp_path / "pip's")
    assert pip_files.store_of(given).root == tmp_path / "pip's"
    os.mkdir(tmp_path / "other")
    (tmp_path / "other/file").touch()
    with pytest.raises(InvalidStore):
        pip_files.store_of({"PIP_SHARED_STORE_PATH": str(tmp_path / "other")})
