"""A lock: which distributions an environment is to hold, and from which files.

Two kinds of file are locks: ``pylock.toml`` (:pep:`751`), which ``packaging.pylock``
parses and selects from, and requirements files whose lines are pinned. What either
names for one environment is the same kind of data, a :class:`Pin` for each distribution.
Only files on this machine are read, and nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from packaging import pylock

from commonwheel import location, pinned_requirements, pylock_file, requirements_file
from commonwheel.environment import Environment
from commonwheel.lock_errors import InvalidLock
from commonwheel.pin import Pin

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_IS_PYLOCK = re.compile(r"^lock-version\s*=", re.MULTILINE)
_FOREIGN = {
    "uv.lock": "uv export --format pylock.toml -o pylock.toml",
    "pdm.lock": "pdm export --format pylock -o pylock.toml",
    "poetry.lock": "poetry export -o requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
}
"""Lock files of one tool each, and how that one writes one for all."""


class Lock(Protocol):
    """A lock that has been read."""

    @property
    def default_groups(self) -> tuple[str, ...]:
        """The dependency groups that are installed unless others are asked for."""

    @property
    def extras(self) -> tuple[str, ...]:
        """All extras that it knows."""

    @property
    def options(self) -> tuple[str, ...]:
        """Options for pip's command line that it brings: where the index is."""

    @property
    def require_hashes(self) -> bool:
        """Whether it says that every file must be verified."""

    def select(
        self,
        environment: Environment,
        extras: Collection[str] = (),
        groups: Collection[str] | None = None,
    ) -> tuple[Pin, ...]:
        """What it names for ``environment``; for default groups if those are None.

        :raises LockMismatch: it is for another Python or platform
        :raises InvalidLock: it does not have the extra or group, or is ambiguous
        """


def read(path: Path, variables: Mapping[str, str] = _NO_VARIABLES) -> Lock:
    """Read the lock ``path``: a ``pylock.toml`` by name or contents, or requirements.

    ``variables`` are what ``${NAME}`` in a requirements file stands for.

    :raises InvalidLock: it is neither, or damaged; names the line or key
    :raises OSError: it cannot be read
    """
    if location.is_url(str(path)):
        raise InvalidLock(path, "a lock is a file on this machine; download it first")
    if path.name in _FOREIGN:
        reason = f"only its own tool reads it; write a lock: {_FOREIGN[path.name]}"
        raise InvalidLock(path, reason)
    text = requirements_file.decode(path)
    if pylock.is_valid_pylock_path(path) or _IS_PYLOCK.search(text):
        return pylock_file.parse(path, text)
    if path.suffix == ".toml":
        raise InvalidLock(path, "it has no lock-version, so it is no lock (PEP 751)")
    return pinned_requirements.read(path, variables)
