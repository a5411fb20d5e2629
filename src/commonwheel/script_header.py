"""What a script says it needs, in a comment of its own (:pep:`723`).

https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from commonwheel.environment import Environment
from commonwheel.lock_errors import InvalidScript, ScriptMismatch
from commonwheel.pin import Pin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_START = "# /// script"
_END = "# ///"


@dataclass(frozen=True)
class ScriptHeader:
    """The metadata of a script."""

    path: Path
    """The script."""
    requires_python: SpecifierSet
    """Allows every version if it says nothing."""
    dependencies: tuple[Requirement, ...]

    def check(self, pins: Sequence[Pin], environment: Environment) -> None:
        """Refuse a lock, or an interpreter, that is not what the script asks for.

        The extras of a dependency are not looked into: a lock does not say of what it
        names which extra wants it.

        :raises ScriptMismatch: names what it asks for, and what there is instead
        """
        if not self.requires_python.contains(environment.version, prereleases=True):
            wanted = f"Python {self.requires_python}, and {environment} is not"
            way_out = "name another one with --python"
            raise ScriptMismatch(self.path, (wanted,), way_out)
        by_name = {pin.name: pin for pin in pins}
        lacking = tuple(self._lacking(by_name, environment))
        if lacking:
            raise ScriptMismatch(self.path, lacking, "lock it again")

    def _lacking(
        self, by_name: Mapping[str, Pin], environment: Environment
    ) -> Iterator[str]:
        variables = {**environment.markers, "extra": ""}
        for each in self.dependencies:
            if each.marker is not None and not each.marker.evaluate(variables):
                continue
            pin = by_name.get(canonicalize_name(each.name))
            if pin is None:
                yield f"{each}, which its lock does not name"
            elif pin.version is not None and not each.specifier.contains(
                pin.version, prereleases=True
            ):
                yield f"{each}, and its lock has {pin}"


def read(path: Path) -> ScriptHeader | None:
    """The metadata of the script ``path``, or None if it has none.

    :raises InvalidScript: it cannot be read, or there is more than one
    """
    try:
        with tokenize.open(path) as file:  # in whatever encoding it declares
            lines = file.read().splitlines()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidScript(path, reason or repr(error)) from error
    blocks = list(_blocks(lines))
    if not blocks:
        return None
    if len(blocks) > 1:
        raise InvalidScript(path, "it has more than one block of metadata (PEP 723)")
    return _parse(path, blocks[0])


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """The blocks of metadata; what is not closed is none."""
    number = 0
    while number < len(lines):
        start, number = number, number + 1
        if lines[start] != _START:
            continue
        while number < len(lines) and (lines[number] + " ").startswith("# "):
            number += 1
        # the last line that can close it does
        ends = [at for at in range(start + 1, number) if lines[at] == _END]
        if ends:
            yield "\n".join(line[2:] for line in lines[start + 1 : ends[-1]])


def _parse(path: Path, block: str) -> ScriptHeader:
    try:
        found = tomllib.loads(block)
        python = found.get("requires-python", "")
        dependencies = found.get("dependencies", [])
        if not isinstance(python, str) or not isinstance(dependencies, list):
            raise InvalidScript(path, "its metadata has values of the wrong type")
        return ScriptHeader(
            path, SpecifierSet(python), tuple(Requirement(each) for each in dependencies)
        )
    except tomllib.TOMLDecodeError as error:
        raise InvalidScript(path, f"its metadata is not TOML: {error}") from error
    except (InvalidRequirement, InvalidSpecifier, TypeError) as error:
        said = str(error).splitlines()[0]
        raise InvalidScript(path, f"in its metadata: {said}") from error
