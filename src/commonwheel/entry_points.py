"""Entry points of a wheel that become scripts, and which names scripts may have.

Follows https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from commonwheel import member_names
from commonwheel.errors import InvalidWheel
from commonwheel.limits import exceeded
from commonwheel.wheel_rules import WheelRule as Rule

_FILE = "entry_points.txt"
_SECTIONS = frozenset({"console_scripts", "gui_scripts"})
_OF_ALL_SECTIONS = "DEFAULT"
"""To :mod:`configparser`, and to uv."""
_HEADER = re.compile(r"\[([^\[\]]+)\]")
_REFERENCE = re.compile(r"([\w.]+)\s*:\s*([\w.]+)\s*(\[.*\])?")
_OF_THE_ENVIRONMENT = re.compile(
    r"(python|pypy)w?[0-9.]*[a-z]?(\.exe)?|(de)?activate(\.\w+)?|activate_this\.py"
    r"|pyvenv\.cfg",
    re.IGNORECASE,
)
"""What :mod:`venv` and virtualenv make, and what runs them.

A longer name that begins so is somebody's program: argcomplete's is named
``activate-global-python-argcomplete``.
"""
_SCRIPT_FOLDERS = frozenset({"bin", "scripts"})
_MODULE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_SCHEME_FOLDER = re.compile(
    r"bin|scripts|(lib|lib64|include|include/site)(/(python|pypy)[0-9.]+t?)?"
)
"""What is a folder in every environment, or a link to one (``lib64``)."""


@dataclass(frozen=True)
class EntryPointScript:
    """A script that an installer generates for an entry point."""

    name: str
    module: str
    attribute: str
    gui: bool


def read(path: Path, text: str, most: int) -> tuple[EntryPointScript, ...]:
    """The scripts in the ``entry_points.txt`` of the wheel ``path``.

    It may have at ``most`` as many lines.

    :raises InvalidWheel: there is one that cannot be generated, or must not be
    """
    lines = text.splitlines()
    if len(lines) > most:
        reason = exceeded("members", f"it has {len(lines):,} lines", most, len(lines))
        raise InvalidWheel(path, Rule.MEMBERS_LIMIT, reason, _FILE)
    found: list[EntryPointScript] = []
    for section, name, value in _entries(path, lines):
        if section not in _SECTIONS:
            continue
        if not member_names.is_plain(name) or not member_names.is_portable(name):
            reason = f"{name!r} cannot name a script"
            raise InvalidWheel(path, Rule.SCRIPT_NAME, reason, _FILE)
        reference = _REFERENCE.fullmatch(value)
        if reference is None:
            reason = f"the script {name!r} needs a MODULE:FUNCTION"
            raise InvalidWheel(path, Rule.ENTRY_POINTS, reason, _FILE)
        gui = section == "gui_scripts"
        found.append(EntryPointScript(name, reference[1], reference[2], gui))
    return tuple(found)


def _entries(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Section, name and value of each entry point.

    Those that :mod:`importlib.metadata` finds once it is installed. Not by
    :mod:`configparser`: it takes the square of the time for a line of spaces, and fills
    in other values for ``%(name)s``. Nor may there be what that adds to all sections:
    some installers read by its rules, so would make scripts that others do not know of.
    """
    section = None
    for line in map(str.strip, lines):
        if not line or line[0] in "#;":
            continue
        header = _HEADER.fullmatch(line)
        name, equals, value = line.partition("=")
        if header is not None:
            section = header[1]
            if section == _OF_ALL_SECTIONS:
                reason = f"[{section}] would be of every section, for some"
                raise InvalidWheel(path, Rule.ENTRY_POINTS, reason, _FILE)
        elif section is None or line[0] == "[" or not equals:
            reason = f"{line[:64]!r} is not NAME = MODULE:FUNCTION in a [section]"
            raise InvalidWheel(path, Rule.ENTRY_POINTS, reason, _FILE)
        else:
            yield section, name.rstrip(), value.lstrip()


def check_scripts(
    path: Path,
    generated: Iterable[str],
    shipped: Iterable[str],
    data: Iterable[str],
) -> None:
    """Check what would lie among an environment's scripts, and its data files.

    ``generated`` are names of entry points, ``shipped`` the wheel's own scripts; one that
    is both is generated only, as pip has it. ``data`` are paths below the environment.

    :raises InvalidWheel: one would replace another, or a file of the environment
    """
    names = [*generated]
    known = set(names)
    names += [name for name in dict.fromkeys(shipped) if name not in known]
    own = list(_among_scripts(data))
    for name in (*names, *own):
        if _OF_THE_ENVIRONMENT.fullmatch(name):
            reason = f"a script {name!r} would replace the environment's own"
            raise InvalidWheel(path, Rule.SCRIPT_NAME, reason)
    seen: dict[str, str] = {}
    for name in (*names, *own):
        folded = member_names.fold(name)
        if folded in seen:
            reason = f"the scripts {seen[folded]!r} and {name!r} would be one file"
            raise InvalidWheel(path, Rule.SCRIPT_COLLISION, reason)
        seen[folded] = name


def check_data(path: Path, data: Iterable[str]) -> None:
    """Check where the data files, paths below an environment, would lie.

    :raises InvalidWheel: in a place that belongs to the environment itself
    """
    for name in data:
        folded = member_names.fold(name)
        if (
            folded == "pyvenv.cfg"
            or _SCHEME_FOLDER.fullmatch(folded)
            or _MODULE_FOLDERS.intersection(folded.split("/"))
        ):
            reason = "a data file in a place that belongs to the environment itself"
            raise InvalidWheel(path, Rule.ENVIRONMENT_FILE, reason, name)


def _among_scripts(data: Iterable[str]) -> Iterator[str]:
    """The names of data files that would lie where scripts lie."""
    for path in data:
        folder, _, name = path.rpartition("/")
        if member_names.fold(folder) in _SCRIPT_FOLDERS:
            yield name
