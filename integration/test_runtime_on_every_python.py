"""The promises of a linked environment, asked of every Python that it supports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
pytest.register_assert_rewrite("test_runtime")

from test_runtime import *  # noqa: E402, F403 - its tests run here again

VERSIONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]


@pytest.fixture(scope="module", params=VERSIONS)  # type: ignore[no-redef]
def python(request: pytest.FixtureRequest) -> str:
    """Each interpreter in turn, in place of the one that runs the tests."""
    version: str = request.param
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    for candidate in [f"python{version}", *map(str, installed)]:
        if runs(candidate):
            return candidate
    if os.environ.get("CI"):
        pytest.fail(f"CPython {version} is not installed")
    pytest.skip(f"CPython {version} is not installed")


def runs(candidate: str) -> bool:
    """Whether it starts: a name on PATH may be a shim of a version manager."""
    try:
        done = subprocess.run(
            [candidate, "-I", "-S", "-c", ""], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0
