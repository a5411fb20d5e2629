"""Fixtures that all tests share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment, Scheme
from commonwheel.store import Store

CACHE_TAG = sys.implementation.cache_tag


@pytest.fixture(autouse=True, scope="session")
def _no_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever goes wrong, no test writes into the store of the user who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.getbasetemp() / "nobody's store"
        patch.setenv("COMMONWHEEL_STORE", str(path))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C works in what tests start, though a shell runs them in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def make_environment(root: Path) -> Environment:
    """An environment of folders only, with the interpreter that runs the tests."""
    site = root / "lib/site-packages"
    site.mkdir(parents=True)
    return Environment(
        python=Path(sys.executable),
        version=".".join(map(str, sys.version_info[:3])),
        cache_tag=CACHE_TAG,
        scheme=Scheme(
            purelib=site,
            platlib=site,
            scripts=root / "bin",
            headers=root / "include",
            data=root,
        ),
    )


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return make_environment(tmp_path / "environment")


@pytest.fixture
def site(environment: Environment) -> Path:
    return environment.scheme.purelib


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def compiler() -> Compiler:
    return Compiler(Path(sys.executable), CACHE_TAG)
