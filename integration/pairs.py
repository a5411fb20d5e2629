"""Pairs: two environments that hold the same distributions, one copied, one linked.

Both are filled from the same wheels, which are downloaded once: the newest release of
each requirement and of what it needs. Whatever one of the two can do, the other one has
to do with the same result; what was compared is shown as a table when pytest ends.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename
from uv import find_uv_bin

from environments import Environment, copy_environment, run

VIEW = "_commonwheel/view"
_LONGEST_CELL = 36


@dataclass(frozen=True)
class Pair:
    """Two environments with the same distributions."""

    plain: Environment
    linked: Environment
    wheels: Path
    """The folder of the wheels that both are filled from."""
    versions: Mapping[str, str]
    """Of each distribution, by its normalized name."""

    def __iter__(self) -> Iterator[Environment]:
        return iter((self.plain, self.linked))

    def copy(self, root: Path) -> Pair:
        """Another pair with the same contents, which a test may change."""
        made = []
        for environment in self:
            path = root / environment.path.parent.name / "environment"
            path.parent.mkdir(parents=True)
            copy_environment(environment.path, path)
            made.append(Environment(path, environment.store))
        return Pair(*made, self.wheels, self.versions)


class Pairs:
    """Makes pairs, each once in a session."""

    def __init__(self, root: Path, host: Environment, pip: Path, python: Path) -> None:
        """``host`` has commonwheel, outside of what it fills; ``pip`` is a wheel."""
        self._root = root
        self._host = host
        self._pip = pip
        self._python = python
        self._made: dict[tuple[Path, tuple[str, ...]], Pair] = {}

    def of(self, *requirements: str, python: Path | None = None) -> Pair:
        """A pair with the newest release of each of ``requirements``.

        It has no pip unless that is one of them. Tests share it: a test that installs
        something takes a :meth:`Pair.copy`.
        """
        key = (python or self._python, requirements)
        if key not in self._made:
            root = self._root / str(len(self._made))
            root.mkdir()
            self._made[key] = self._make(root, *key)
        return self._made[key]

    def _make(self, root: Path, python: Path, requirements: tuple[str, ...]) -> Pair:
        wheels = root / "wheels"
        plain, linked = (
            self._empty(root / name / "environment", python)
            for name in ("plain", "linked")
        )
        # The index is the one of whoever runs the tests, and so is pip's cache.
        pip = (plain.python, self._pip / "pip", "wheel", "-q", "-w", wheels)
        run([*pip, *requirements])
        pair = Pair(plain, linked, wheels, versions_of(wheels.iterdir()))
        self.copy_into(plain, *wheels.iterdir())
        self.link_into(linked, *wheels.iterdir())
        return pair

    def _empty(self, path: Path, python: Path) -> Environment:
        path.parent.mkdir()
        run([python, "-m", "venv", "--without-pip", path])
        return Environment(path, self._root / "store")

    def copy_into(self, environment: Environment, *wheels: Path) -> None:
        """Install wheels as files."""
        uv = (find_uv_bin(), "pip", "install", "--python", environment.python)
        options = ["--no-index", "--no-deps", "--link-mode=copy", "--compile-bytecode"]
        for folder in {wheel.parent for wheel in wheels}:
            options += ["--find-links", str(folder)]
        # By name, as if from an index: a path would be remembered in direct_url.json.
        pins = [f"{name}=={version}" for name, version in versions_of(wheels).items()]
        environment.run(*uv, *options, *pins)

    def link_into(self, environment: Environment, *wheels: Path) -> None:
        """Install wheels as links."""
        commonwheel = (self._host.path / "bin/commonwheel", "install")
        environment.run(*commonwheel, "--python", environment.python, *sorted(wheels))


def versions_of(wheels: Iterable[Path]) -> dict[str, str]:
    """The versions in the names of wheel files, by normalized name."""
    parsed = (parse_wheel_filename(wheel.name) for wheel in wheels)
    return {canonicalize_name(name): str(version) for name, version, *_ in parsed}


@dataclass
class Comparison:
    """A row of the table: what a tool makes of the two environments of a pair."""

    tool: str
    version: str
    cells: list[str] = field(default_factory=list)
    same: str = "no"

    def run(
        self,
        pair: Pair,
        act: Callable[[Environment], Any],
        *,
        cell: Callable[[Any], object],
        difference: Callable[[Any], Any] | None,
    ) -> Any:
        """See :data:`Compare`."""
        with ThreadPoolExecutor(2) as pool:
            started = [pool.submit(act, environment) for environment in pair]
        results = []
        for environment, future in zip(pair, started, strict=True):
            results.append(normalized(future.result(), environment))
            self.cells.append(_shortened(str(cell(results[-1]))))
        plain, linked = results
        expected = plain if difference is None else difference(deepcopy(plain))
        if linked != expected:
            pytest.fail("\n".join(_changes(expected, linked)), pytrace=False)
        if difference is not None:
            assert linked != plain, "the difference is gone: say so in docs/design.md"
        self.same = "yes" if difference is None else "see Limits"
        return plain


Compare = Callable[..., Any]
"""``compare(tool, pair, act)``: do the same in both environments of a pair.

``act(environment)`` gives what is to be compared, anything that can be JSON. The result
of the plain environment is returned, :func:`normalized`; a test asserts that it is a
success, because two errors are equal, too.

``version=``    of the tool; without it, that of the distribution of the tool's name
``cell=``       gives what the table shows of a result; without it, the last line
``difference=`` gives what is expected of the linked environment, from the plain result,
                where the two cannot be the same
"""


def normalized(result: Any, environment: Environment) -> Any:
    """A result without what is of one environment alone.

    Its folder reads ``ENV``, its home folder ``HOME``; what lies in the view is written
    as if it lay in site-packages itself. Times and addresses of objects are left out.
    """
    text = json.dumps(result, ensure_ascii=False)
    text = re.sub(rf"/{re.escape(VIEW)}\b", "", text)
    for path, word in ((environment.home, "HOME"), (environment.path, "ENV")):
        text = text.replace(str(path), word)
    text = re.sub(r"\b\d+\.\d+ ?s\b( \(\d+:\d\d:\d\d\))?", "TIME", text)
    return json.loads(re.sub(r"\b0x[0-9a-f]{6,}\b", "ADDRESS", text))


def last_line(result: Any) -> str:
    """The last line that says something."""
    text = result if isinstance(result, str) else json.dumps(result)
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _changes(expected: Any, linked: Any) -> Iterator[str]:
    """What is different, line by line."""
    texts = [
        each if isinstance(each, str) else json.dumps(each, indent=1)
        for each in (expected, linked)
    ]
    old, new = (text.splitlines() for text in texts)
    return difflib.unified_diff(old, new, "expected", "linked", lineterm="")


def _shortened(text: str) -> str:
    text = text.strip(" =-")
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 3]}..."


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    rows = [header, *sorted(rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
