"""A linked environment and one that was filled by copying are told apart by nothing
but what :data:`DIFFERENCES` lists.

The wheels of ``differential_wheels.txt`` are installed twice, by the same pip, from the
same files: as pip does it, and with ``--use-shared-store``. ``probe.py`` says what the
interpreters of the two see, ``reports.py`` what pip and uv see; all of it is compared.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import interpreters
import pytest
import reports
from environments import Environment, Templates, assert_untouched, run, store_contents
from reports import Facts
from wheelhouse import NEWEST_PIP

HERE = Path(__file__).parent
PYTHON = "3.11"
"""What the wheels are for."""
BY_PATH = "six"
"""Installed by its path, so that it has a ``direct_url.json``."""
MISSING = "(not there)"
VIEW = "/_commonwheel/view"


@dataclass(frozen=True)
class Difference:
    """What may differ, and why that is as it should be."""

    where: str
    """Pattern for the whole name of a fact."""
    holds: Callable[[Any, Any], bool]
    """Whether the values are those expected: plain, linked (links shown as files)."""
    reason: str


def only_linked(plain: Any, linked: Any) -> bool:
    return bool(plain == MISSING)


def only_plain(plain: Any, linked: Any) -> bool:
    return bool(linked == MISSING)


def differs_in(old: str, new: str) -> Callable[[Any, Any], bool]:
    def holds(plain: Any, linked: Any) -> bool:
        return bool(json.loads(json.dumps(plain).replace(old, new)) == linked)

    return holds


def read_only(plain: Any, linked: Any) -> bool:
    return bool(int(plain, 8) & ~0o222 == int(linked, 8))


ROW = r".*(metadata|pip show > [^>]*) > file "
DIFFERENCES = (
    Difference(
        rf"{ROW}.*\.pyc( > .*)?",
        only_plain,
        "bytecode belongs to the store's entry, so RECORD has no rows for it",
    ),
    Difference(
        rf"{ROW}_commonwheel/.*",
        only_linked,
        "RECORD lists the manifest and the links of the view: uninstalling removes them",
    ),
    Difference(
        rf"{ROW}[^/]*\.dist-info/top_level\.txt( > .*)?",
        only_linked,
        "without it packages_distributions() would guess from the rows of RECORD",
    ),
    Difference(
        r".* > metadata > text of top_level\.txt",
        only_linked,
        "the same file",
    ),
    Difference(
        r".* > metadata > file .* > mode",
        read_only,
        "nobody may write to what environments share",
    ),
    Difference(
        r".* > metadata > text of INSTALLER|pip list > .*|pip inspect > .* > installer",
        differs_in("pip", "commonwheel"),
        "who installed it",
    ),
)


class Wheel(NamedTuple):
    """A wheel of the list, and what it says it provides."""

    path: Path
    name: str
    version: str

    def modules(self) -> list[str]:
        """Its top-level modules and those a level deeper, two levels in a namespace."""
        paths = set(self._sources())
        tops = {path.partition("/")[0] for path in paths}
        namespaces = {top for top in tops if f"{top}/__init__.py" not in paths}
        names = set()
        for path in paths:
            parts = re.sub(r"(/__init__)?(\.[^/]*)$", "", path).split("/")
            depth = 3 if parts[0] in namespaces else 2
            if all(part.isidentifier() for part in parts):
                names |= {".".join(parts[: n + 1]) for n in range(min(depth, len(parts)))}
        return sorted(names)

    def _sources(self) -> Iterator[str]:
        with zipfile.ZipFile(self.path) as archive:
            for member in archive.namelist():
                path = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", member)
                if path.endswith((".py", ".so")) and ".data/" not in path:
                    yield path


class Pair(NamedTuple):
    """The two environments."""

    plain: Environment
    linked: Environment


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Wheel]:
    """The wheels of the list, downloaded with the configuration pip has here."""
    folder = tmp_path_factory.mktemp("wheels")
    listed = (HERE / "differential_wheels.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", listed, re.MULTILINE)
    given = [f"{name}=={version}" for name, version in pins]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON, "-q"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "download", *options, "-d", folder, *given])
    return [Wheel(_wheel_of(folder, name), name, version) for name, version in pins]


def _wheel_of(folder: Path, name: str) -> Path:
    wanted = re.sub(r"[-_.]+", "-", name).lower()
    return next(
        path
        for path in folder.iterdir()
        if re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower() == wanted
    )


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, wheels: list[Wheel]
) -> Pair:
    root = tmp_path_factory.mktemp("pair")
    python = interpreters.require(PYTHON)
    made = []
    for name in ("plain", "linked"):
        environment = templates.make(root / name, python, NEWEST_PIP)
        environment.run(environment.python, "-m", "compileall", "-q", environment.site)
        install(environment, wheels, linked=name == "linked")
        made.append(environment)
    return Pair(*made)


def install(environment: Environment, wheels: list[Wheel], *, linked: bool) -> None:
    wanted = [
        wheel.path if wheel.name == BY_PATH else f"{wheel.name}=={wheel.version}"
        for wheel in wheels
    ]
    folder = wheels[0].path.parent
    environment.install("--no-deps", *wanted, wheels=folder, linked=linked)


class Seen(NamedTuple):
    """All facts of the two environments."""

    plain: Facts
    linked: Facts
    bytecode: tuple[set[str], set[str]]
    """In the linked environment and its store: before looking, and after."""


@pytest.fixture(scope="module")
def seen(pair: Pair, wheels: list[Wheel]) -> Seen:
    before = bytecode(pair.linked)
    plain, linked = (look(environment, wheels) for environment in pair)
    return Seen(plain, linked, (before, bytecode(pair.linked)))


def look(environment: Environment, wheels: list[Wheel]) -> Facts:
    """Every fact of an environment."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv is not None, "uv is not installed"
    found = reports.of_tools(environment, uv, [wheel.name for wheel in wheels])
    found |= {f"outside > {key}": value for key, value in outside(environment)}
    for prefix, facts in probe(environment, requests(wheels)).items():
        found |= {f"{prefix} > {key}": value for key, value in facts.items()}
    return found


def requests(wheels: list[Wheel]) -> dict[str, dict[str, Any]]:
    """What to ask of fresh interpreters: all of a distribution, single modules."""
    found: dict[str, dict[str, Any]] = {"environment": {"site": None}}
    for wheel in wheels:
        modules = wheel.modules()
        tops = [name for name in modules if "." not in name]
        found |= {f"fresh {top}": {"modules": [top]} for top in tops}
        found[wheel.name] = {
            "modules": modules,
            "resources": tops,
            "metadata": wheel.name,
        }
    return found


def probe(environment: Environment, asked: dict[str, Any]) -> dict[str, Facts]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(partial(_probe, environment), asked.values())
        return dict(zip(asked, answers, strict=True))


def _probe(environment: Environment, request: dict[str, Any]) -> Facts:
    command = [environment.python, "-P", HERE / "probe.py", json.dumps(request)]
    facts: Facts = json.loads(environment.run(*command, timeout=120).stdout)
    return facts


def outside(environment: Environment) -> Iterator[tuple[str, Any]]:
    """Everything but site-packages: scripts, headers, data."""
    own = os.fsencode(environment.path)
    for current, folders, files in os.walk(environment.path):
        folders[:] = [name for name in folders if name != "site-packages"]
        for name in (*folders, *files):
            path = Path(current, name)
            key = str(path.relative_to(environment.path))
            mode = f"{stat.S_IMODE(path.lstat().st_mode):o}"
            if path.is_symlink() or path.is_dir():
                yield key, [mode, path.is_symlink() and os.readlink(path)]
            else:
                data = path.read_bytes().replace(own, b"<env>")
                yield key, [mode, hashlib.sha256(data).hexdigest()]


def bytecode(environment: Environment) -> set[str]:
    return {
        str(path)
        for root in (environment.path, environment.store)
        for path in root.rglob("*.pyc")
    }


def without_view(value: Any) -> Any:
    """A fact of a linked environment, if linked files lay in site-packages itself."""
    return json.loads(json.dumps(value).replace(VIEW, ""))


def differences(plain: Facts, linked: Facts) -> dict[str, tuple[Any, Any]]:
    pairs = {
        key: (plain.get(key, MISSING), without_view(linked.get(key, MISSING)))
        for key in {**plain, **linked}
    }
    return {key: values for key, values in pairs.items() if values[0] != values[1]}


def explained_by(key: str, values: tuple[Any, Any]) -> Difference | None:
    for each in DIFFERENCES:
        if re.fullmatch(each.where, key) and each.holds(*values):
            return each
    return None
