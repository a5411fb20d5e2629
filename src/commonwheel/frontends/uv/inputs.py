"""The files that a command of uv reads requirements from."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from commonwheel.frontends.uv.arguments import Command

_STDIN = "-"
_LOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
"""The names of lock files (:pep:`751`)."""
_PROJECTS = (".cfg", ".py", ".pyw", ".toml")
"""The endings of files that hold the requirements of a project or script."""


@dataclass(frozen=True)
class Inputs:
    """The files of requirements and constraints that a command names."""

    directory: Path
    """Where uv runs."""
    files: tuple[Path, ...]
    variables: Mapping[str, str]
    """What ``${NAME}`` stands for in them."""

    @property
    def lasting(self) -> bool:
        """Whether all of them are there to be read again: no pipes, no URLs."""
        return all(file.is_file() for file in self.files)

    @property
    def lock(self) -> Path | None:
        """The ``pylock.toml`` among them."""
        return next((file for file in self.files if _is_lock(file)), None)

    @property
    def projects(self) -> bool:
        """Whether some are of projects or scripts, which may name their indexes."""
        return any(file.suffix in _PROJECTS and not _is_lock(file) for file in self.files)

    @property
    def requirements(self) -> tuple[Path, ...]:
        """Those that are lists of requirements or constraints."""
        return tuple(file for file in self.files if file.suffix not in _PROJECTS)


def read(command: Command, variables: Mapping[str, str], stdin: Path | None) -> Inputs:
    """What ``command`` names; ``stdin`` is a file of what standard input held."""
    directory = Path.cwd()
    for value in command.values("--directory") or (variables.get("UV_WORKING_DIR"),):
        directory /= value or ""
    told = [
        *command.values("--constraints", "--overrides"),
        *(variables.get(name, "") for name in ("UV_CONSTRAINT", "UV_OVERRIDE")),
    ]
    if command.verb == ("sync",):
        names: list[str] = []
    else:
        names = [
            *_requirements(command),
            *(name for each in told for name in each.split()),
        ]
    files = (
        stdin if name == _STDIN and stdin is not None else directory / name
        for name in names
    )
    return Inputs(directory, tuple(files), variables)


@contextmanager
def standard_input(command: Command) -> Iterator[BinaryIO | None]:
    """What standard input holds, if ``command`` reads it, to be read several times."""
    if _STDIN not in _requirements(command):
        yield None
        return
    with open(0, "rb", closefd=False) as given, tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(given, kept)
        yield kept


def _requirements(command: Command) -> tuple[str, ...]:
    if command.verb == ("pip", "sync"):
        return command.positional
    return command.values("--requirements")


def _is_lock(file: Path) -> bool:
    return _LOCK.fullmatch(file.name) is not None
