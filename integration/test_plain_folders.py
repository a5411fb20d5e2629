"""Real files from the store: what pip puts there, in plain folders and environments."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import cargo
from environments import (
    Environment,
    Templates,
    assert_untouched,
    run,
    store_contents,
)
from wheelhouse import NEWEST_PIP, Sample, Wheelhouse, write_wheel

OLD_PIP = "23.2"
REAL = ("flask", "numpy", "pyyaml")
"""Of many wheels; with binaries and many files; with an extension module."""

Make = Callable[..., Environment]


class Found(NamedTuple):
    """One file or folder, as far as it is to be the same."""

    kind: str
    mode: int
    content: object
    links: int


Folder = dict[str, Found]


def look(root: Path) -> Folder:
    """Everything below ``root``. Of bytecode only where it is, of RECORD the rows."""
    found: Folder = {}
    for current, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(current, name)
            found[path.relative_to(root).as_posix()] = _look_at(path)
    return found


def _look_at(path: Path) -> Found:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Found("folder", mode, "", 0)
    if stat.S_ISLNK(status.st_mode):
        return Found("link", mode, os.readlink(path), 0)
    if path.name.endswith(".pyc"):
        return Found("bytecode", mode, "", 0)
    content = path.read_bytes()
    if path.name == "RECORD":
        # pip ends a line as csv does by default, commonwheel as everything else ends
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        return Found("file", mode, rows, 0)
    digest = hashlib.sha256(content).hexdigest()
    return Found("file", mode, digest, status.st_nlink)


def assert_same(ours: Folder, pips: Folder) -> None:
    """Same files; only what is the store's own has the store's permission bits."""
    assert ours.keys() == pips.keys()
    for path, wanted in pips.items():
        mode = wanted.mode
        if ours[path].links > 1:
            mode = 0o555 if mode & stat.S_IXUSR else 0o444
        expected = (wanted.kind, oct(mode), wanted.content)
        assert (ours[path].kind, oct(ours[path].mode), ours[path].content) == expected, (
            path
        )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a distribution that has everything."""
    folder = tmp_path_factory.mktemp("cargo")
    for version in ("1.0", "2.0"):
        cargo.write_cargo(folder, version)
    return folder


class Installer:
    """An environment whose pip and commonwheel fill plain folders."""

    def __init__(self, environment: Environment, wheels: Path) -> None:
        self.environment = environment
        self._wheels = wheels
        self._by_pip: dict[tuple[str, ...], Folder] = {}

    def put(self, place: Path, *options: str, linked: bool = True) -> str:
        """``pip install`` with ``options``; ``{place}`` in them is the folder."""
        given = [option.format(place=place) for option in options]
        answer = self.environment.install(
            *given, "--no-warn-script-location", wheels=self._wheels, linked=linked
        )
        return answer.stdout + answer.stderr

    def by_pip(self, place: Path, *options: str) -> Folder:
        """What pip by itself makes of ``options``; the folder is empty afterwards."""
        if options not in self._by_pip:
            self.put(place, *options, linked=False)
            self._by_pip[options] = look(place)
            shutil.rmtree(place)
        return self._by_pip[options]

    def commonwheel(
        self, *arguments: object, check: bool = True, **variables: str
    ) -> str:
        """Run commonwheel for this environment's interpreter; gives what it says."""
        environment = self.environment
        program = environment.path / "bin/commonwheel"
        done = environment.run(program, *arguments, check=check, variables=variables)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installers(
    tmp_path_factory: pytest.TempPathFactory,
    templates: Templates,
    python: Path,
    wheels: Path,
) -> Callable[[str], Installer]:
    root = tmp_path_factory.mktemp("installers")
    made: dict[str, Installer] = {}

    def installer(pip: str) -> Installer:
        if pip not in made:
            path = root / f"pip-{pip}"
            made[pip] = Installer(templates.make(path, python, pip), wheels)
        return made[pip]

    return installer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Always the same, because it is in RECORD and in what pip says."""
    return tmp_path_factory.mktemp("plain") / "place"


@pytest.fixture(autouse=True)
def _gone(place: Path) -> Iterator[None]:
    yield
    shutil.rmtree(place, ignore_errors=True)


OPTIONS = {
    "target": ("--target", "{place}"),
    "prefix": ("--prefix", "{place}"),
    "root": ("--root", "{place}"),
    "target, no bytecode": ("--target", "{place}", "--no-compile"),
}
MODES = {
    "by default": (),
    "hardlink": ("--shared-store-link-mode", "hardlink"),
    "copy": ("--shared-store-link-mode", "copy"),
}
CASES = [
    *((NEWEST_PIP, options, "by default") for options in OPTIONS),
    *((NEWEST_PIP, "target", mode) for mode in ("hardlink", "copy")),
    (NEWEST_PIP, "target, no bytecode", "copy"),
    (NEWEST_PIP, "prefix", "copy"),
    *((OLD_PIP, options, "by default") for options in ("target", "prefix")),
]


@pytest.mark.parametrize(("pip", "options", "mode"), CASES)
def test_a_plain_folder_gets_what_pip_puts_there(
    installers: Callable[[str], Installer],
    place: Path,
    pip: str,
    options: str,
    mode: str,
) -> None:
    installer = installers(pip)
    before = look(installer.environment.path)
    wanted = installer.by_pip(place, *OPTIONS[options], cargo.NAME)
    said = installer.put(place, *OPTIONS[options], *MODES[mode], cargo.NAME)
    assert "Installed 1 distribution from the store" in said
    ours = look(place)
    assert_same(ours, wanted)
    (record,) = place.rglob("cargo-*.dist-info/RECORD")
    assert record.with_name("INSTALLER").read_text() == "pip\n"
    if mode == "copy":
        assert all(found.links <= 1 for found in ours.values())
    if mode == "hardlink":
        site = record.parent.parent
        for path, links in _links(site, "2.0"):
            assert (links > 1) == (path in cargo.SHARED), path
    assert look(installer.environment.path) == before


def _links(site: Path, version: str) -> Iterator[tuple[str, int]]:
    """How many names each file has, of those that are known about."""
    for path in (*cargo.SHARED, *cargo.EDITED):
        yield path, (site / path.format(version=version)).stat().st_nlink


def test_a_target_is_left_alone_or_replaced_as_pip_does(
    installers: Callable[[str], Installer], place: Path
) -> None:
    """Twice, with ``--upgrade``, and to another version."""
    installer = installers(NEWEST_PIP)
    target = OPTIONS["target"]
    steps = (
        (*target, "cargo==1.0"),
        (*target, "cargo==2.0"),
        (*target, "--upgrade", "cargo==2.0"),
    )

    def follow(*options: str, linked: bool) -> list[Folder]:
        found = []
        for step in steps:
            installer.put(place, *step, *options, linked=linked)
            found.append(look(place))
        shutil.rmtree(place)
        return found

    wanted = follow(linked=False)
    before = store_contents(installer.environment.store)
    for mode in ("hardlink", "copy"):
        for ours, pips in zip(follow(*MODES[mode], linked=True), wanted, strict=True):
            assert_same(ours, pips)
    assert_untouched(installer.environment.store, before)


def test_a_users_own_folder_gets_what_pip_puts_there(
    templates: Templates,
    python: Path,
    wheelhouse: Wheelhouse,
    wheels: Path,
    tmp_path: Path,
) -> None:
    # Outside a virtual environment, with the base interpreter and a pip from its wheel.
    place = tmp_path / "user"
    template = templates.make(tmp_path / "unused", python, NEWEST_PIP)
    outside = Environment(template.path, tmp_path / "store")
    outside.variables |= {"PYTHONUSERBASE": str(place), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    outside.variables["PYTHONDONTWRITEBYTECODE"] = "1"  # of what pip itself imports
    pip = (python, f"{wheelhouse.pip(NEWEST_PIP)}/pip")
    options = ("--user", "--no-index", "--no-warn-script-location")
    here = (*pip, "install", *options, "--find-links", wheels)
    outside.run(*here, "--find-links", wheelhouse.folder, "--no-compile", "commonwheel")
    before = look(place)

    def put(*options: str) -> Folder:
        outside.run(*here, *options, cargo.NAME)
        now = look(place)
        outside.run(*pip, "uninstall", "-y", cargo.NAME)
        left = {path for path, found in look(place).items() if found.kind != "folder"}
        assert left - before.keys() == set()
        return {path: kind for path, kind in now.items() if path not in before}

    wanted = put()
    for options in MODES.values():
        assert_same(put("--use-shared-store", *options), wanted)
    assert store_contents(outside.store)


@pytest.mark.parametrize("option", ["--target", "--prefix"])
@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_the_command_puts_there_what_pip_does(
    installers: Callable[[str], Installer],
    wheels: Path,
    place: Path,
    option: str,
    mode: str,
) -> None:
    installer = installers(NEWEST_PIP)
    wanted = installer.by_pip(place, option, "{place}", cargo.NAME)
    wheel = next(wheels.glob("cargo-2.0-*"))
    for _ in range(2):
        said = installer.commonwheel(
            *("install", option, place, "--link-mode", mode, wheel)
        )
        assert said == ""
        ours = look(place)
        (record,) = place.rglob("cargo-*.dist-info/RECORD")
        assert record.with_name("INSTALLER").read_text() == "commonwheel\n"
        for name in ("INSTALLER", "RECORD"):
            path = record.with_name(name).relative_to(place).as_posix()
            # other contents, as is told below
            ours[path] = ours[path]._replace(content=wanted[path].content)
        assert_same(ours, wanted)
        _assert_lists(record, place)


def _assert_lists(record: Path, place: Path) -> None:
    """RECORD is true of the folder (pip's is not: it is made before files are moved)."""
    site = record.parent.parent
    with record.open(encoding="utf-8", newline="") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    there = {
        os.path.relpath(path, site).replace(os.sep, "/"): path
        for path in place.rglob("*")
        if path.is_file()
    }
    assert rows.keys() == there.keys()
    for name, (digest, size) in rows.items():
        if digest:
            content = there[name].read_bytes()
            value = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
            assert (digest, int(size)) == (
                f"sha256={value.decode().rstrip('=')}",
                len(content),
            )


@pytest.mark.parametrize("option", ["--target", "--prefix"])
@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_the_command_replaces_another_version(
    installers: Callable[[str], Installer],
    wheels: Path,
    place: Path,
    option: str,
    mode: str,
) -> None:
    installer = installers(NEWEST_PIP)
    newer, older = (next(wheels.glob(f"cargo-{v}-*")) for v in ("2.0", "1.0"))
    here = ("install", option, place, "--link-mode", mode)
    installer.commonwheel(*here, newer)
    wanted = look(place)
    shutil.rmtree(place)
    for wheel in (older, newer):
        assert installer.commonwheel(*here, wheel) == ""
    assert_same(look(place), wanted)


def test_what_pip_does_otherwise_is_known(
    installers: Callable[[str], Installer], tmp_path: Path, place: Path
) -> None:
    """The differences there are, and no others."""
    installer = installers(NEWEST_PIP)
    wheel = write_wheel(
        tmp_path,
        "odd",
        "1",
        {
            "odd.py": "",
            # bytecode is made anew for the Python that imports it
            "__pycache__/odd.cpython-30.pyc": b"",
            # pip makes it for everything that ends so, though nobody imports it there
            "{data}/scripts/odd-script.py": "#!python\n",
            "{data}/data/share/odd/example.py": "",
            # a script can be run, whatever the archive says
            "{data}/scripts/odd-plain": "#!python\n",
        },
        executable=("odd-1.data/scripts/odd-script.py",),
    )
    installer.put(place, "--prefix", "{place}", str(wheel), linked=False)
    pips = look(place)
    shutil.rmtree(place)
    installer.put(place, "--prefix", "{place}", str(wheel))
    ours = look(place)
    left_out = {path for path in pips.keys() - ours.keys() if path.endswith(".pyc")}
    assert {path.rpartition("/")[2].partition(".")[0] for path in left_out} == {
        *("odd", "odd-script", "example")
    }
    folders = {"bin/__pycache__", "share/odd/__pycache__"}
    assert pips.keys() - ours.keys() == left_out | folders
    assert ours.keys() <= pips.keys()
    assert ours["bin/odd-plain"].mode & stat.S_IXUSR
    assert not pips["bin/odd-plain"].mode & stat.S_IXUSR


# Real ones


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels from the index, with what they need."""
    folder = tmp_path_factory.mktemp("real")
    options = ("--only-binary", ":all:", "--python-version", "3.12")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    run([*pip, "download", "-d", folder, *options, *REAL])
    return folder


USE_REAL = """
import flask, numpy, yaml, yaml._yaml, json, sys
assert numpy.arange(6).reshape(2, 3).dot(numpy.ones(3)).tolist() == [3.0, 12.0]
assert yaml.load("[1, {a: 2}]", yaml.CSafeLoader) == [1, {"a": 2}]
app = flask.Flask("app")
app.route("/")(lambda: "hello")
assert app.test_client().get("/").data == b"hello"
print(json.dumps(sorted(m.__file__ for m in (flask, numpy, yaml))))
"""


@pytest.fixture(scope="module")
def real_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real") / "place"


@pytest.fixture(scope="module")
def real_by_pip(
    installers: Callable[[str], Installer], real: Path, real_place: Path
) -> Folder:
    environment = installers(NEWEST_PIP).environment
    environment.install("--target", real_place, *REAL, wheels=real, linked=False)
    found = look(real_place)
    shutil.rmtree(real_place)
    return found


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_real_ones_are_what_pip_puts_there(
    installers: Callable[[str], Installer],
    real: Path,
    real_place: Path,
    real_by_pip: Folder,
    mode: str,
) -> None:
    environment = installers(NEWEST_PIP).environment
    options = ("--target", real_place, "--shared-store-link-mode", mode)
    environment.install(*options, *REAL, wheels=real)
    try:
        assert_same(look(real_place), real_by_pip)
        variables = {"PYTHONPATH": str(real_place)}
        files = json.loads(environment.code(USE_REAL, "-W", "error", variables=variables))
        assert all(path.startswith(f"{real_place}/") for path in files)
        _assert_bytecode_is_used(environment, real_place)
    finally:
        shutil.rmtree(real_place)


def _assert_bytecode_is_used(environment: Environment, place: Path) -> None:
    """Importing reads it, and neither compiles nor writes."""
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*.pyc")}
    here = {"PYTHONPATH": str(place)}
    command = (environment.python, "-v", "-c", "import flask, numpy, yaml")
    said = environment.run(*command, variables=here).stderr.splitlines()
    read = [line for line in said if line.startswith("# code object from")]
    read = [line for line in read if str(place) in line]
    assert len(read) > 200
    assert all(line.rstrip("'").endswith(".pyc") for line in read)
    assert not [line for line in said if line.startswith("# wrote")]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*.pyc")} == before


# In environments


def _modes(environment: Environment) -> dict[str, str]:
    """How each distribution got into an environment, as ``status`` says."""
    program = environment.path / "bin/commonwheel"
    told = json.loads(environment.run(program, "status", "--json").stdout)
    return {each["name"]: each["mode"] for each in told["linked"]}


def _assert_works(environment: Environment, version: str, mode: str) -> None:
    assert _modes(environment) == {"cargo": mode}
    assert environment.code(cargo.USE) == version
    folder = environment.path / "bin"
    for script, said in (("cargo-console", "console"), ("cargo-script", "script")):
        assert environment.run(folder / script).stdout == f"{said} {version}\n"
    assert environment.installed()["cargo"] == version


def _assert_in_order(environment: Environment) -> None:
    """Nothing is wrong, as ``doctor`` says."""
    environment.run(environment.path / "bin/commonwheel", "doctor")


def _left(environment: Environment, before: dict[str, str]) -> set[str]:
    """What is left of a distribution that pip has uninstalled.

    Of a namespace pip leaves the empty folder, as of one that it has copied itself.
    """
    site = environment.site.relative_to(environment.path)
    namespaces = {f"{site}/cargo_space", f"{site}/sample_space"}
    found = environment.tree()
    empty = {
        name
        for name in namespaces
        if not [path for path in found if path.startswith(f"{name}/")]
    }
    return environment.leftovers(before) - empty


EACH_TO_EACH = (
    "manifest",
    "hardlink",
    "copy",
    "manifest",
    "copy",
    "hardlink",
    "manifest",
)


def _chosen(mode: str) -> tuple[str, ...]:
    return ("--shared-store-link-mode", mode)


@pytest.mark.parametrize(("pip", "mode"), [(OLD_PIP, "hardlink"), (NEWEST_PIP, "copy")])
def test_pip_uninstalls_real_files_completely(
    make: Make, wheels: Path, pip: str, mode: str
) -> None:
    environment = make(pip=pip)
    before = environment.tree()
    environment.install(*_chosen(mode), "cargo==1.0", wheels=wheels)
    _assert_works(environment, "1.0", mode)
    _assert_in_order(environment)
    in_store = store_contents(environment.store)
    environment.pip("uninstall", "-y", "cargo")
    _assert_in_order(environment)
    assert _left(environment, before) == set()
    assert_untouched(environment.store, in_store)


def test_pip_changes_from_each_mode_to_each_other(
    environment: Environment, wheels: Path
) -> None:
    before = environment.tree()
    in_store: dict[str, str] = {}
    for number, mode in enumerate(EACH_TO_EACH):
        version = ("1.0", "2.0")[number % 2]
        environment.install(*_chosen(mode), f"cargo=={version}", wheels=wheels)
        _assert_works(environment, version, mode)
        assert_untouched(environment.store, in_store)
        in_store = store_contents(environment.store)
    # the same version in another mode, and without the store at all
    again = ("--force-reinstall", "cargo==1.0")
    environment.install(*_chosen("copy"), *again, wheels=wheels)
    _assert_works(environment, "1.0", "copy")
    _assert_in_order(environment)
    environment.install(*again, wheels=wheels, linked=False)
    assert not environment.is_linked("cargo")
    assert environment.code(cargo.USE) == "1.0"
    environment.pip("uninstall", "-y", "cargo")
    assert _left(environment, before) == set()
    assert_untouched(environment.store, in_store)


def test_the_command_changes_from_each_mode_to_each_other(
    environment: Environment, wheels: Path
) -> None:
    before = environment.tree()
    program = environment.path / "bin/commonwheel"
    by_version = {v: next(wheels.glob(f"cargo-{v}-*")) for v in ("1.0", "2.0")}
    for number, mode in enumerate(EACH_TO_EACH):
        version = ("1.0", "2.0")[number % 2]
        here = (program, "install", "--python", environment.python, "--link-mode", mode)
        done = environment.run(*here, "--json", by_version[version])
        assert json.loads(done.stdout)["installed"][0]["mode"] == mode
        assert done.stderr == ""
        _assert_works(environment, version, mode)
        _assert_in_order(environment)
    environment.run(program, "uninstall", "--python", environment.python, "cargo")
    assert environment.leftovers(before) == set()


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_an_edited_file_is_imported_anew(
    environment: Environment, wheels: Path, mode: str
) -> None:
    environment.install(*_chosen(mode), "cargo", wheels=wheels)
    module = environment.site / "cargo/inner/leaf.py"
    compiled = next(module.parent.glob("__pycache__/leaf.*.pyc"))
    before = compiled.read_bytes()
    code = "import cargo.inner.leaf as leaf; print(leaf.VERSION)"
    assert environment.code(code) == "2.0"
    assert compiled.read_bytes() == before  # read, not written
    in_store = store_contents(environment.store)
    edited = module.with_name("edited")  # as an editor does it
    edited.write_text("VERSION = '3.0'\n")
    later = module.stat().st_mtime + 2  # bytecode tells seconds apart, no less
    os.utime(edited, (later, later))
    edited.replace(module)
    assert environment.code(code) == "3.0"
    assert compiled.read_bytes() != before
    assert_untouched(environment.store, in_store)


@pytest.mark.parametrize(
    "real",
    [
        ("sample-overlap-one", "sample-ns-two"),
        ("sample-ns-one", "sample-overlap-two", "sample-ext"),
        ("sample-pure", "sample_module", "Sample.Start", "sample-data"),
    ],
)
def test_some_can_be_real_files_and_the_others_links(
    environment: Environment, sample: Sample, real: tuple[str, ...]
) -> None:
    before = environment.tree()
    first, *others = real
    options = ("--shared-store-real", ",".join(others), "--shared-store-real", first)
    environment.install(*options, *sample.names, wheels=sample.folder)
    assert environment.code(sample.imports)
    names = {name.lower().replace("_", "-").replace(".", "-") for name in real}
    are_real = {name for name, m in _modes(environment).items() if m != "manifest"}
    assert are_real == names
    # some go, the others stay whole
    environment.pip("uninstall", "-y", *names)
    environment.install("--no-deps", *names, wheels=sample.folder)
    assert set(_modes(environment).values()) == {"manifest"}
    assert environment.code(sample.imports)
    environment.pip("uninstall", "-y", *sample.names)
    assert _left(environment, before) == set()


@pytest.mark.parametrize(
    "modules",
    [
        {"overlap-one": "sample_shared.nested.one", "overlap-two": "sample_shared.two"},
        {"ns-one": "sample_space.one", "ns-two": "sample_space.two.deep"},
    ],
)
@pytest.mark.parametrize("first_is_real", [True, False])
def test_real_files_and_links_share_a_folder_in_any_order(
    environment: Environment,
    sample: Sample,
    modules: dict[str, str],
    first_is_real: bool,
) -> None:
    program = environment.path / "bin/commonwheel"
    here = ("--python", environment.python)
    names = [f"sample-{name}" for name in modules]
    for order in (names, names[::-1]):
        for number, name in enumerate(order):
            mode = "copy" if (number == 0) == first_is_real else "manifest"
            (wheel,) = sample.folder.glob(f"{name.replace('-', '_')}-1.0-*")
            environment.run(program, "install", *here, "--link-mode", mode, wheel)
            assert _modes(environment)[name] == mode
        assert all(environment.can_import(module) for module in modules.values())
        environment.run(program, "uninstall", *here, *names)
        assert not any(environment.can_import(module) for module in modules.values())


def test_the_settings_of_each_frontend(environment: Environment, wheels: Path) -> None:
    """A variable of pip's for pip, one of ours for all, what is typed before both."""
    ours, pips = "COMMONWHEEL_LINK_MODE", "PIP_SHARED_STORE_LINK_MODE"
    again = ("--force-reinstall", "cargo==1.0")
    for variables, options, mode in (
        ({ours: "copy"}, (), "copy"),
        ({ours: "copy", pips: "hardlink"}, (), "hardlink"),
        ({pips: "copy"}, ("--shared-store-link-mode", "hardlink"), "hardlink"),
        (
            {"PIP_SHARED_STORE_REAL": "cargo"},
            ("--shared-store-link-mode", "copy"),
            "copy",
        ),
    ):
        environment.install(*options, *again, wheels=wheels, variables=variables)
        assert _modes(environment) == {"cargo": mode}
    environment.install(*again, wheels=wheels, variables={"COMMONWHEEL_REAL": "Cargo x"})
    assert _modes(environment)["cargo"] != "manifest"
    done = environment.install(
        *again, wheels=wheels, variables={ours: "symlink"}, check=False
    )
    assert done.returncode == 1
    assert re.search("COMMONWHEEL_LINK_MODE .*'symlink': choose one of", done.stderr)
    assert "Traceback" not in done.stderr
    assert _modes(environment)["cargo"] != "manifest"  # it is still there


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_an_upgrade_that_fails_leaves_the_old_version(
    environment: Environment, wheels: Path, tmp_path: Path, mode: str
) -> None:
    environment.install(*_chosen(mode), "cargo==1.0", wheels=wheels)
    before = environment.tree()
    damaged = write_wheel(
        tmp_path,
        "cargo",
        "3.0",
        {"cargo/__init__.py": ""},
        record={"cargo/__init__.py": ""},
    )
    done = environment.install(*_chosen(mode), damaged, check=False)
    assert done.returncode == 1
    assert environment.tree() == before
    _assert_works(environment, "1.0", mode)


def test_a_folder_where_a_file_is_to_be_changes_nothing(
    environment: Environment, wheels: Path
) -> None:
    (environment.path / "etc/cargo.conf/mine").mkdir(parents=True)
    before = environment.tree()
    for mode in ("hardlink", "copy"):
        done = environment.install(*_chosen(mode), "cargo", wheels=wheels, check=False)
        assert done.returncode == 1
        assert "a folder is there" in done.stderr
        assert environment.leftovers(before) == set()
        assert {**environment.tree(), **before} == environment.tree()
