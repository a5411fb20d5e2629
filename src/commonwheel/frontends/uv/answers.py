"""What uv says it would do.

A dry run tells it on standard error, in lines that have been the same since uv 0.1:
`` + name==version`` is a distribution from an index, `` ~ name==version`` one that is
installed anew, and whatever comes from elsewhere has its origin behind it. JSON says
less (no origins), and uv has it for ``uv pip`` since 0.13 only; of ``uv sync`` it tells
which environment is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CHANGE = re.compile(r"^ ([-+~]) ([A-Za-z0-9][\w.-]*)(.*)$", re.MULTILINE)
_FROM_INDEX = re.compile(r"==(\S+)$")
_ENVIRONMENT = re.compile(
    r"Using Python (?P<version>\S+) environment at:? (?P<root>.+)$", re.MULTILINE
)
_OF_ENVIRONMENT = ("Using ", "Creating ", "Removed ")
_ELSEWHERE = re.compile(r"Using `--(target|prefix)` directory")
_NO_BINARY = re.compile(
    r"^ *no_binary: (?P<kind>\w+)(?:\(\s*\[(?P<packages>[^\]]*)\])?", re.MULTILINE
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Changes:
    """What would be changed in an environment."""

    wanted: Mapping[str, str]
    """Distributions from an index that would be installed: name, version."""
    others: frozenset[str]
    """Names of what would be installed from elsewhere: projects, archives, VCS."""
    lines: Mapping[str, tuple[str, ...]]
    """For each name, what uv says of it."""

    @property
    def names(self) -> tuple[str, ...]:
        """All that would be installed."""
        return (*self.wanted, *sorted(self.others))


@dataclass(frozen=True)
class Place:
    """The environment that uv would change."""

    root: Path
    """Its prefix."""
    version: str | None = None
    """Of its Python."""
    missing: bool = False
    """Whether uv would make it, or make it anew."""
    locked: bool = False
    """Whether the lock of ``uv sync`` stays as it is."""


def changes(said: str) -> Changes:
    """What a dry run would change, from what it says on standard error."""
    wanted: dict[str, str] = {}
    others: set[str] = set()
    lines: dict[str, tuple[str, ...]] = {}
    for kind, name, more in _CHANGE.findall(_ANSI.sub("", said)):
        lines[name] = (*lines.get(name, ()), f" {kind} {name}{more}")
        if kind == "-":
            continue
        found = _FROM_INDEX.fullmatch(more)
        if found:
            wanted[name] = found[1]
        else:
            others.add(name)
    return Changes(wanted, frozenset(others), lines)


def pip_place(said: str, folder: Path) -> Place | None:
    """The environment of ``uv pip``, from what a verbose dry run says.

    ``folder`` is where uv runs. None if it is none, but a folder of its own.
    """
    said = _ANSI.sub("", said)
    found = _ENVIRONMENT.search(said)
    if found is None or _ELSEWHERE.search(said):
        return None
    return Place(folder / found["root"], found["version"])


def project_place(answer: str) -> Place | None:
    """The environment of ``uv sync``, from what a dry run says in JSON."""
    try:
        told = json.loads(answer)
        root = Path(told["sync"]["environment"]["path"])
        action, locking = told["sync"]["action"], told["lock"]["action"]
    except (ValueError, KeyError, TypeError):
        return None
    return Place(root, missing=action != "check", locked=locking in ("check", "use"))


def about_environment(said: str) -> str:
    """What ``uv sync`` says of an environment that it makes."""
    lines = _ANSI.sub("", said).splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(_OF_ENVIRONMENT))


def without_wheels(settings: str) -> frozenset[str] | None:
    """The names of what has to be built, from what ``--show-settings`` says.

    None: everything. Of settings that say nothing of it, nothing.
    """
    found = _NO_BINARY.search(settings)
    if found is None or found["kind"] == "None":
        return frozenset()
    listed = found["packages"]
    return None if listed is None else frozenset(re.findall(r'"([^"]+)"', listed))
