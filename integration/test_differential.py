"""A linked environment and one that was filled by copying are told apart by nothing
but what :data:`DIFFERENCES` lists.

The wheels of ``differential_wheels.txt`` are installed twice, by the same pip, from the
same files: as pip does it, and with ``--use-shared-store``. ``probe.py`` says what the
interpreters of the two see, ``reports.py`` what pip and uv see; all of it is compared.
"""

from __future__ import annotations

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

import pytest

import interpreters
import reports
from environments import (
    RUNTIME,
    Environment,
    Templates,
    Tree,
    assert_untouched,
    run,
    store_contents,
    tree,
)
from reports import Facts
from wheelhouse import NEWEST_PIP

HERE = Path(__file__).parent
PYTHON = "3.11"
"""What the wheels are for."""
BY_PATH = "six"
"""Installed by its path, so that it has a ``direct_url.json``."""
MISSING = "(not there)"
VIEW = "/_commonwheel/view"
SITE = f"lib/python{PYTHON}/site-packages"


@dataclass(frozen=True)
class Difference:
    """What may differ, and why that is as it should be."""

    where: str
    """Pattern for the whole name of a fact."""
    holds: Callable[[Any, Any], bool]
    """Whether the values are as expected: plain, and linked :func:`without_view`."""
    reason: str


def only_linked(plain: object, linked: object) -> bool:
    return plain == MISSING and linked != MISSING


def only_plain(plain: object, linked: object) -> bool:
    return plain != MISSING and linked == MISSING


def same_but_for_view(plain: object, linked: object) -> bool:
    return plain == linked


def both(plain: object, linked: object) -> bool:
    return MISSING not in (plain, linked)


def with_other(old: str, new: str) -> Callable[[Any, Any], bool]:
    """The same but for a part of the JSON text."""

    def holds(plain: object, linked: object) -> bool:
        return json.dumps(plain).replace(old, new) == json.dumps(linked)

    return holds


def without_writing(plain: Any, linked: Any) -> bool:
    return both(plain, linked) and int(plain, 8) & ~0o222 == int(linked, 8)


def same_folders(plain: Any, linked: Any) -> bool:
    return both(plain, linked) and set(plain) == set(linked)


ROW = r".*(metadata|pip show > [^>]*) > file "
UNINSTALL = rf"pip uninstall > .* > Would .*<env>/{SITE}/"
SHOWS_WHO = "who installed it is no secret"
DIFFERENCES = (
    Difference(
        r".* > modules > .*|environment > site > .*",
        same_but_for_view,
        "modules have their files in the view, where site-packages would have them",
    ),
    Difference(
        rf"{ROW}.*\.pyc( > .*)?",
        only_plain,
        "bytecode is the entry's, not the environment's: RECORD has no rows for it",
    ),
    Difference(
        r"outside > bin/__pycache__(/.*)?",
        only_plain,
        "pip compiles scripts that end with .py; nothing ever reads the result",
    ),
    Difference(
        rf"{ROW}_commonwheel/.*",
        only_linked,
        "RECORD lists the manifest and the links, for whoever uninstalls",
    ),
    Difference(
        rf"{ROW}[^/]*\.dist-info/top_level\.txt( > .*)?|.* > text of top_level\.txt",
        only_linked,
        "without it packages_distributions() would guess from those rows",
    ),
    Difference(
        r"environment > site > distributions of (.*__mypyc|pandas-stubs)",
        only_linked,
        "that file says what Python 3.12 and later guess; 3.11 sees only *.py",
    ),
    Difference(
        rf"{ROW}.*\.commonwheel( > .*)?|.* > resource .*/\.[^/]*\.(commonwheel|kept)",
        only_linked,
        "marks whose a folder of several distributions is, so that it can be removed",
    ),
    Difference(
        rf"{ROW}pep8-1\.5\.7\.data/scripts/pep8( > .*)?",
        only_plain,
        "pip keeps the row of a wheel's own wrapper for an entry point, not the file",
    ),
    Difference(
        r"environment > site > (in site-packages|anywhere) > _commonwheel",
        only_linked,
        "the runtime",
    ),
    Difference(
        r"environment > site > sys\.path",
        same_folders,
        "the view is there for what reads .pth files, but does not run them",
    ),
    Difference(
        r".* > metadata > file .* > mode",
        without_writing,
        "nobody may write to what environments share",
    ),
    Difference(
        r".* > metadata > text of INSTALLER",
        with_other('"pip\\n"', '"commonwheel\\n"'),
        SHOWS_WHO,
    ),
    Difference(r".*\.dist-info/INSTALLER > (row|content)", both, SHOWS_WHO),
    Difference(r"pip list > .*", with_other('r": "pip"', 'r": "commonwheel"'), SHOWS_WHO),
    Difference(
        r"pip show > .* > fields",
        with_other("Installer: pip", "Installer: commonwheel"),
        SHOWS_WHO,
    ),
    Difference(
        r"pip inspect > .* > installer", with_other("pip", "commonwheel"), SHOWS_WHO
    ),
    Difference(
        r".*\.dist-info/RECORD > content", both, "its rows are compared one by one"
    ),
    Difference(
        rf"{UNINSTALL}(?!_commonwheel/|[^/]*\.dist-info/).*",
        only_plain,
        "the files that would be removed, or stay in a folder, are not there",
    ),
    Difference(
        rf"{UNINSTALL}(_commonwheel/|.*\.(commonwheel|kept)$).*",
        only_linked,
        "links and markers are there in their place",
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
    before: Tree
    """What the linked one held before anything was linked."""


class Seen(NamedTuple):
    """What there is to see in the two environments."""

    plain: Facts
    linked: Facts
    new_bytecode: set[str]
    """That looking has left in the linked environment, or in the store."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Wheel]:
    """The wheels of the list, downloaded with the configuration that pip has here."""
    folder = tmp_path_factory.mktemp("wheels")
    listed = (HERE / "differential_wheels.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", listed, re.MULTILINE)
    options = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON, "-q"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    given = [f"{name}=={version}" for name, version in pins]
    run([*pip, "download", *options, "-d", folder, *given])
    by_name = {normalized(path.name.partition("-")[0]): path for path in folder.iterdir()}
    return [Wheel(by_name[normalized(name)], name, version) for name, version in pins]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, wheels: list[Wheel]
) -> Pair:
    python = interpreters.require(PYTHON)
    made = []
    for name in ("plain", "linked"):
        # the folder's own name is in the activation scripts
        path = tmp_path_factory.mktemp(name) / "environment"
        environment = templates.make(path, python, NEWEST_PIP)
        environment.run(python, "-m", "compileall", "-q", environment.site)
        made.append(environment)
    plain, linked = made
    before = tree(linked.site)
    install(plain, wheels, linked=False)
    install(linked, wheels, linked=True)
    return Pair(plain, linked, before)


def install(environment: Environment, wheels: list[Wheel], *, linked: bool) -> None:
    wanted = [
        wheel.path if wheel.name == BY_PATH else f"{wheel.name}=={wheel.version}"
        for wheel in wheels
    ]
    folder = wheels[0].path.parent
    environment.install("--no-deps", *wanted, wheels=folder, linked=linked)


@pytest.fixture(scope="module")
def seen(pair: Pair, wheels: list[Wheel]) -> Seen:
    pair.linked.code("")  # the runtime's own bytecode is written at the first start
    before = reports.bytecode(pair.linked)
    plain, linked = look(pair.plain, wheels), look(pair.linked, wheels)
    return Seen(plain, linked, reports.bytecode(pair.linked) - before)


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
        answers = pool.map(partial(reports.of_interpreter, environment), asked.values())
        return dict(zip(asked, answers, strict=True))


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


def without_view(value: Any) -> Any:
    """A fact of a linked environment, as if linked files lay in site-packages itself."""
    return json.loads(json.dumps(value).replace(VIEW, ""))


def differences(seen: Seen, pattern: str = ".*") -> dict[str, tuple[Any, Any]]:
    """The facts whose names match ``pattern`` that differ: in plain, in linked."""
    keys = [key for key in {**seen.plain, **seen.linked} if re.fullmatch(pattern, key)]
    assert keys, f"nothing is known of {pattern}"
    pairs = {
        key: (seen.plain.get(key, MISSING), seen.linked.get(key, MISSING)) for key in keys
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def explanation(key: str, values: tuple[Any, Any]) -> Difference | None:
    plain, linked = values[0], without_view(values[1])
    for each in DIFFERENCES:
        if re.fullmatch(each.where, key) and each.holds(plain, linked):
            return each
    return None


def unexplained(seen: Seen, pattern: str) -> list[str]:
    """The differences that the table does not explain, a few of them in full."""
    found = [
        f"{key}\n    plain: {plain}\n    linked: {linked}"
        for key, (plain, linked) in differences(seen, pattern).items()
        if explanation(key, (plain, linked)) is None
    ]
    return [*found[:20], f"and {len(found) - 20} more"] if len(found) > 20 else found


def test_every_module_is_imported_alike(seen: Seen) -> None:
    assert not unexplained(seen, r".* > modules > .*")
    imported = [key for key in seen.linked if key.endswith(" > __name__")]
    assert len(imported) > 1000


def test_importlib_metadata_says_the_same(seen: Seen) -> None:
    assert not unexplained(seen, r".* > metadata > .*|environment > .*")


def test_rows_of_record_are_true(seen: Seen) -> None:
    rows = {k: v for k, v in seen.linked.items() if k.endswith(" > row is true")}
    assert len(rows) > 4000
    assert not [key for key, value in rows.items() if value is False]


def test_every_resource_has_the_same_bytes(seen: Seen) -> None:
    assert not unexplained(seen, r".* > resources > .*")
    assert len([key for key in seen.linked if " > resource " in key]) > 4000


def test_scripts_headers_and_data_are_the_same_files(seen: Seen) -> None:
    assert not unexplained(seen, r"outside > .*")


def test_pip_reports_the_same(seen: Seen) -> None:
    assert not unexplained(seen, r"pip .*")


def test_uv_reports_the_same(seen: Seen) -> None:
    assert not unexplained(seen, r"uv .*")


def test_no_module_is_compiled_when_it_is_imported(seen: Seen, pair: Pair) -> None:
    compiled = {key: value for key, value in seen.linked.items() if "> compiled" in key}
    assert compiled
    assert not any(compiled.values()), compiled
    assert not seen.new_bytecode
    elsewhere = str(pair.linked.home / "no-bytecode-here")
    request = {"modules": ["six"]}
    variables = {"PYTHONPYCACHEPREFIX": elsewhere}
    control = reports.of_interpreter(pair.linked, request, **variables)
    assert any(path.endswith("/six.py") for path in control["compiled"])


def test_the_table_has_no_entry_that_explains_nothing(seen: Seen) -> None:
    used = {explanation(*found) for found in differences(seen).items()}
    assert [each for each in DIFFERENCES if each not in used] == []


def test_the_linked_environment_has_no_package_file_of_its_own(
    pair: Pair, seen: Seen
) -> None:
    allowed = re.compile(
        r"[^/]+\.dist-info/.+|[^/]+\.pth"
        r"|_commonwheel/links/[^/]+\.link"
        r"|(.+/)?\.[^/]+\.(commonwheel|kept)"
    )
    new = {
        path
        for path, kind in tree(pair.linked.site).items()
        if path not in pair.before and kind.startswith("file") and path not in RUNTIME
    }
    assert not [path for path in sorted(new) if not allowed.fullmatch(path)]


def test_uninstalling_everything_leaves_what_was_there_before(
    tmp_path: Path, templates: Templates, wheels: list[Wheel], pair: Pair
) -> None:
    python, store = interpreters.require(PYTHON), pair.linked.store
    path = tmp_path / "environment"
    environment = templates.make(path, python, NEWEST_PIP, store=store)
    before, stored = environment.tree(), store_contents(store)
    install(environment, wheels, linked=True)
    environment.pip("uninstall", "-y", *[wheel.name for wheel in wheels])
    assert environment.leftovers(before) == set()
    assert_untouched(store, stored)
