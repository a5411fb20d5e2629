"""The Pythons that integration tests run with: found on this machine, never downloaded.

``find("3.12")`` looks for a ``python3.12`` that really starts: on ``PATH``, then among
pyenv's versions (a pyenv shim on ``PATH`` may stand for a version that is not selected).
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
"""What the package supports."""


@functools.cache
def find(version: str) -> Path | None:
    """The base interpreter of Python ``version`` (as in ``3.12``), or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted(
        (pyenv / "versions").glob(f"{version}.*/bin/python{version}"),
        key=lambda path: [
            int(part) if part.isdigit() else -1 for part in path.parts[-3].split(".")
        ],
        reverse=True,
    )
    on_path = shutil.which(f"python{version}")
    candidates = ([on_path] if on_path else []) + [str(path) for path in installed]
    for candidate in candidates:
        found = _base(candidate, version)
        if found is not None:
            return found
    return None


def require(version: str) -> Path:
    """As :func:`find`; the test is skipped without it, and fails where ``CI`` is set."""
    found = find(version)
    if found is None:
        message = f"no python{version} on PATH or among pyenv's versions"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def _base(candidate: str, version: str) -> Path | None:
    code = (
        "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2]);"
        "print(sys._base_executable)"
    )
    try:
        answer = subprocess.run(
            [candidate, "-I", "-c", code], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    lines = answer.stdout.splitlines()
    return Path(lines[1]) if lines[0] == version else None
