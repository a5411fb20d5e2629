"""``commonwheel-uv`` where uv is expected: it does what uv does, with links.

Every case runs twice, with uv in one environment and with the stand-in in its twin. The
index is a folder of handwritten wheels behind a web server on this machine.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import commonwheel
from environments import quiet_variables, run, store_contents
from wheelhouse import write_wheel

BACKEND = """
import os, shutil
def build_wheel(folder, settings=None, metadata=None):
    return _copy(folder, "plain")
def build_editable(folder, settings=None, metadata=None):
    return _copy(folder, "editable")
def _copy(folder, kind):
    (name,) = os.listdir(os.path.join("made", kind))
    shutil.copy(os.path.join("made", kind, name), folder)
    return name
"""
UNTOLD = ("Linked ", " + ", " - ", " ~ ", "Resolved", "Prepared", "Installed", "Checked")
"""Lines on standard error that may differ: who installed what, and how long it took."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Index:
    """Two web indexes (:pep:`503`), a folder of wheels, and projects."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root / "wheels"
        self.extra_wheels = root / "extra-wheels"
        for version in ("1.0", "2.0"):
            code = {"base/__init__.py": f"VERSION = {version!r}\n"}
            scripts = "[console_scripts]\nbase = base:__name__.title\n"
            write_wheel(self.wheels, "base", version, code, entry_points=scripts)
            code = {"app/__init__.py": "", "shared_space/app.py": version}
            requires = (f"base=={version}",)
            write_wheel(self.wheels, "app", version, code, requires=requires)
        write_wheel(self.wheels, "leaf", "1.0", {"shared_space/leaf.py": ""})
        write_wheel(self.extra_wheels, "only-extra", "1.0", {"only_extra.py": ""})
        # the same name and version as in the first index, from other bytes
        other = {"shared_space/leaf.py": "", "shared_space/other.py": ""}
        write_wheel(self.extra_wheels, "leaf", "1.0", other)
        self._write_source()

    def _write_source(self) -> None:
        folder = self.root / "sourced-1.0"
        made = write_project(folder, "sourced", name_of_root="sourced")
        with tarfile.open(self.wheels / "sourced-1.0.tar.gz", "w:gz") as archive:
            archive.add(made, "sourced-1.0")

    def publish(self, url: str) -> None:
        for kind, folder in (("one", self.wheels), ("two", self.extra_wheels)):
            for file in folder.iterdir():
                name = file.name.split("-")[0].replace("_", "-")
                page = self.root / kind / name / "index.html"
                page.parent.mkdir(parents=True, exist_ok=True)
                link = f"{url}/{folder.name}/{file.name}#sha256={sha256(file)}"
                with open(page, "a") as html:
                    html.write(f'<a href="{link}">{file.name}</a>\n')
        self.one, self.two = f"{url}/one", f"{url}/two"


def write_project(
    folder: Path, name: str, *, name_of_root: str = "", more: str = ""
) -> Path:
    """A project that builds without anything from an index."""
    folder.mkdir(parents=True)
    requires = "" if name == "sourced" else '"base==1.0"'
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.9"\n'
        f"dependencies = [{requires}]\n"
        '[project.optional-dependencies]\ntest = ["leaf"]\n'
        '[dependency-groups]\ndev = []\ntools = ["leaf"]\n'
        '[build-system]\nrequires = []\nbuild-backend = "made"\nbackend-path = ["."]\n'
        f"{more}"
    )
    (folder / "made.py").write_text(BACKEND)
    extras = ("base==1.0", 'leaf; extra == "test"') if requires else ()
    write_wheel(folder / "made/plain", name, "1.0", {f"{name}.py": ""}, requires=extras)
    path = {f"{name}.pth": str(folder)}
    write_wheel(folder / "made/editable", name, "1.0", path, requires=extras)
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    made = Index(tmp_path_factory.mktemp("index"))
    handler = functools.partial(Quiet, directory=str(made.root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.publish(f"http://127.0.0.1:{server.server_port}")
    yield made
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def uv() -> Path:
    found = shutil.which("uv", path=os.path.dirname(sys.executable)) or shutil.which("uv")
    assert found is not None
    return Path(found)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``commonwheel-uv``, as an installer writes it."""
    script = tmp_path_factory.mktemp("bin") / "commonwheel-uv"
    place = str(Path(commonwheel.__file__).parents[1])
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {place!r})\n"
        "from commonwheel.frontends.uv.shim import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return script


@dataclass(frozen=True)
class Twins:
    """A project and an environment for uv, and their twins for the stand-in."""

    root: Path
    index: Index
    programs: Mapping[str, Path]
    variables: Mapping[str, str]

    def run(
        self, which: str, *given: object, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the programs in its own folder."""
        folder = self.root / which
        environ = {**self.variables, "VIRTUAL_ENV": str(folder / "env"), **variables}
        words = [str(each).format(folder=folder) for each in given]
        program = self.programs[which]
        return run([program, *words], check=False, cwd=folder, env=environ)

    def both(self, *given: object, status: int = 0, **variables: str) -> str:
        """Run both, which must be equal to see; returns what the stand-in says."""
        plain, ours = (self.run(w, *given, **variables) for w in ("plain", "ours"))
        assert ours.returncode == plain.returncode == status, plain.stderr + ours.stderr
        assert ours.stdout == plain.stdout
        assert self._lines(ours.stderr, "ours") == self._lines(plain.stderr, "plain")
        self.compare()
        return ours.stderr

    def _lines(self, said: str, which: str) -> list[str]:
        said = said.replace(str(self.root / which), "").replace(f"{which}/", "")
        lines = said.splitlines()
        building = ("Building", "Built", "Downloading", "Downloaded", "Uninstalled")
        return [
            line
            for line in lines
            if not line.startswith(UNTOLD) and not line.strip().startswith(building)
        ]

    def compare(self) -> None:
        """Both environments hold the same, and all is well with ours."""
        if not (self.root / "ours/env").exists():
            return
        for question in ("freeze", "check"):
            assert self.answer("ours", question) == self.answer("plain", question)
        examined = self.commonwheel("doctor")
        assert examined.returncode == 0, examined.stdout

    def answer(self, which: str, question: str) -> str:
        """What uv itself says of an environment."""
        folder = self.root / which
        command = [self.programs["plain"], "pip", question, "-p", folder / "env"]
        said = run(command, check=False, env=self.variables)
        lines = [
            line for line in said.stderr.splitlines() if not line.startswith("Checked")
        ]
        return "\n".join([said.stdout, *lines]).replace(str(folder), "")

    def commonwheel(self, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "commonwheel", verb, self.root / "ours/env"]
        place = str(Path(commonwheel.__file__).parents[1])
        environ = {**self.variables, "PYTHONPATH": place}
        return run([*command, *more], check=False, env=environ)

    @property
    def linked(self) -> dict[str, str]:
        told: dict[str, Any] = json.loads(self.commonwheel("status", "--json").stdout)
        return {each["name"]: each["version"] for each in told["linked"]}

    def write(self, name: str, text: str) -> None:
        for which in self.programs:
            (self.root / which / name).write_text(text)


@pytest.fixture
def twins(tmp_path: Path, index: Index, uv: Path, stand_in: Path, python: Path) -> Twins:
    variables = quiet_variables(tmp_path)
    del variables["UV_OFFLINE"], variables["UV_NO_CONFIG"]
    variables |= {
        "COMMONWHEEL_STORE": str(tmp_path / "store"),
        "COMMONWHEEL_UV": str(uv),
        "NO_PROXY": "127.0.0.1",
        "UV_DEFAULT_INDEX": index.one,
        "UV_PYTHON": str(python),
    }
    made = Twins(tmp_path, index, {"plain": uv, "ours": stand_in}, variables)
    for which in made.programs:
        (tmp_path / which).mkdir()
        run([uv, "venv", "-q", tmp_path / which / "env"], env=variables)
    del variables["UV_PYTHON"]
    return made


Case = tuple[str, dict[str, str]]
BASE = {"base": "2.0"}
APP = {"base": "2.0", "app": "2.0"}
OLD = {"base": "1.0", "app": "1.0"}
EXTRA = {"only-extra": "1.0"}
NONE: dict[str, str] = {}
INSTALLS: dict[str, Case] = {
    "names": ("pip install app", APP),
    "global options first": ("-q --color never pip --no-progress install app", APP),
    "an option's value is a verb": ("--cache-dir sync pip install base", BASE),
    "project": ("--project {folder} pip install base", BASE),
    "another folder": ("--directory {folder}/.. pip install base", BASE),
    "files": ("pip install -r wanted.txt", {**OLD, "leaf": "1.0"}),
    "constraints": ("pip install -c less.txt app", OLD),
    "extras, editable": (
        "pip install -e {folder}/demo[test]",
        {"base": "1.0", "leaf": "1.0"},
    ),
    "a project, and a name": ("pip install ./demo leaf", {"base": "1.0", "leaf": "1.0"}),
    "group": ("pip install --group demo/pyproject.toml:tools", {"leaf": "1.0"}),
    "no dependencies": ("pip install --no-deps app", {"app": "2.0"}),
    "index": ("pip install --index-url {one} app", APP),
    "extra index": (
        "pip install --extra-index-url {two} only-extra base",
        {**BASE, "only-extra": "1.0"},
    ),
    "find links": ("pip install --no-index -f {extra} only-extra", EXTRA),
    "find links in a file": ("pip install -r offline.txt", EXTRA),
    "target": ("pip install --target {folder}/there app", NONE),
    "python": ("pip install -p {folder}/env app", APP),
    "system": ("pip install --system --python {folder}/env/bin/python app", APP),
    "hashes": ("pip install --require-hashes -r hashed.txt", {"leaf": "1.0"}),
    "source": ("pip install sourced base", BASE),
    "no wheels": ("pip install --no-binary sourced sourced leaf", {"leaf": "1.0"}),
    "a wheel by its path": ("pip install {wheels}/leaf-1.0-py3-none-any.whl base", BASE),
    "sync": ("pip sync pinned.txt", OLD),
    "sync to a lock": ("pip sync --preview pylock.toml", {"leaf": "1.0"}),
}


@pytest.fixture
def filled(twins: Twins) -> Twins:
    """With files to install from."""
    index = twins.index
    leaf = index.wheels / "leaf-1.0-py3-none-any.whl"
    twins.write("wanted.txt", "app<2  # not too new\n-r more.txt\n")
    twins.write("more.txt", "leaf\n")
    twins.write("less.txt", "base<2\n")
    twins.write("pinned.txt", "app==1.0\nbase==1.0\n")
    twins.write("hashed.txt", f"leaf==1.0 --hash=sha256:{sha256(leaf)}\n")
    twins.write(
        "offline.txt", f"--no-index\n--find-links {index.extra_wheels}\nonly-extra\n"
    )
    twins.write(
        "pylock.toml",
        'lock-version = "1.0"\ncreated-by = "hand"\n[[packages]]\nname = "leaf"\n'
        f'version = "1.0"\nwheels = [{{url = "{leaf.as_uri()}", '
        f'hashes = {{sha256 = "{sha256(leaf)}"}}}}]\n',
    )
    for which in twins.programs:
        write_project(twins.root / which / "demo", "demo")
    return twins


def words(twins: Twins, line: str) -> list[str]:
    index = twins.index
    known = {"{one}": index.one, "{two}": index.two}
    known |= {"{wheels}": str(index.wheels), "{extra}": str(index.extra_wheels)}
    return [
        functools.reduce(lambda w, key: w.replace(key, known[key]), known, word)
        for word in line.split()
    ]


@pytest.mark.parametrize("case", INSTALLS)
def test_it_installs_what_uv_installs(case: str, filled: Twins) -> None:
    line, linked = INSTALLS[case]
    given = words(filled, line)
    filled.both(*given)
    assert filled.linked == linked
    again = filled.both(*given)
    assert filled.linked == linked
    assert "Linked" not in again
    there, here = (filled.root / which / "there" for which in ("plain", "ours"))
    assert there.exists() == here.exists() == (case == "target")


CHANGES: dict[str, tuple[str, dict[str, str]]] = {
    "another version": ("pip install app==2.0", APP),
    "upgrade": ("pip install --upgrade app", APP),
    "upgrade one": ("pip install -P app -P base app", APP),
    "reinstall": ("pip install --reinstall app==1.0", OLD),
    "reinstall with a project": (
        "pip install --reinstall -e {folder}/demo app==1.0",
        OLD,
    ),
    "reinstall one": ("pip install --reinstall-package base app==1.0", OLD),
    "sync to less": ("pip sync less.txt", NONE),
    "uninstall": ("pip uninstall app base", NONE),
    "reinstall a source": ("pip install --reinstall sourced", OLD),
}


@pytest.mark.parametrize("case", CHANGES)
def test_it_changes_what_uv_changes(case: str, filled: Twins) -> None:
    filled.both("pip", "install", "app==1.0", "sourced")
    assert filled.linked == OLD
    filled.write("less.txt", "sourced==1.0\n")
    line, linked = CHANGES[case]
    filled.both(*words(filled, line))
    assert filled.linked == linked


def test_uv_finds_all_of_it_installed(filled: Twins) -> None:
    filled.both("pip", "install", "app", "leaf")
    for given in (("install", "app", "leaf"), ("install", "-U", "app", "leaf")):
        said = filled.run(
            "plain", "pip", *given, "--dry-run", "-p", "{folder}/../ours/env"
        )
        assert "Would make no changes" in said.stderr


def test_what_uv_makes_of_links_leaves_nothing_behind(filled: Twins) -> None:
    filled.both("pip", "install", "app==1.0", "leaf")
    stored = store_contents(filled.root / "store")
    filled.run("plain", "pip", "install", "app==2.0", "-p", "{folder}/../ours/env")
    assert filled.linked == {"leaf": "1.0"}
    filled.both("pip", "install", "app==1.0", "leaf")
    assert filled.linked == {**OLD, "leaf": "1.0"}
    filled.both("pip", "uninstall", "app", "base", "leaf")
    (ours,) = (filled.root / "ours/env/lib").glob("python*/site-packages/_commonwheel")
    assert not list(ours.glob("links/*"))
    assert [path.name for path in ours.glob("view/*")] == [".commonwheel"]
    assert store_contents(filled.root / "store") == stored


FAILURES = {
    "unsatisfiable": ("pip install app==3.0", 1),
    "unknown option": ("pip install --no-such-option app", 2),
    "missing file": ("pip install -r nowhere.txt", 2),
    "another hash": ("pip install -r wrong.txt", 1),
    "no environment": ("pip install -p nowhere app", 2),
    "an unknown command": ("no-such-command", 2),
    "nothing locked": ("sync --locked --project {folder}/demo", 1),
}


@pytest.mark.parametrize("case", FAILURES)
def test_it_fails_as_uv_fails(case: str, filled: Twins) -> None:
    filled.write("wrong.txt", f"leaf==1.0 --hash=sha256:{'0' * 64}\n")
    line, status = FAILURES[case]
    filled.both(*words(filled, line), status=status)
    assert filled.linked == NONE


def test_an_environment_that_is_managed_by_others_is_uvs(filled: Twins) -> None:
    for which in filled.programs:
        (lib,) = (filled.root / which / "env/lib").glob("python*")
        (lib / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=no\n")
    answers = [
        filled.run(which, "pip", "install", "app", *more)
        for more in ((), ("--break-system-packages",))
        for which in filled.programs
    ]
    assert answers[0].returncode == answers[1].returncode
    assert answers[2].returncode == answers[3].returncode == 0


def test_requirements_from_standard_input(filled: Twins) -> None:
    folder = filled.root / "ours"
    environ = {**filled.variables, "VIRTUAL_ENV": str(folder / "env")}
    command = [filled.programs["ours"], "pip", "install", "-r", "-"]
    run(command, cwd=folder, env=environ, input="app==1.0\nleaf\n")
    assert filled.linked == {**OLD, "leaf": "1.0"}


def test_a_project_says_which_index_a_file_comes_from(filled: Twins) -> None:
    index = filled.index
    more = (
        '[tool.uv.sources]\nleaf = { index = "other" }\n[[tool.uv.index]]\n'
        f'name = "other"\nurl = "{index.two}"\nexplicit = true\n'
    )
    for which in filled.programs:
        with open(filled.root / which / "demo/pyproject.toml", "a") as file:
            file.write(more)
    filled.both("pip", "install", "{folder}/demo[test]")
    assert filled.linked == {"base": "1.0", "leaf": "1.0"}
    (view,) = (filled.root / "ours/env/lib").glob(
        "python*/site-packages/_commonwheel/view"
    )
    assert (view / "shared_space/other.py").exists()


def test_a_full_store_needs_no_network(filled: Twins) -> None:
    filled.both("pip", "install", "app")
    uv = filled.programs["plain"]
    run([uv, "venv", "-q", "--clear", filled.root / "ours/env"], env=filled.variables)
    answer = filled.run("ours", "pip", "install", "app", UV_OFFLINE="1", PIP_NO_INDEX="1")
    assert answer.returncode == 0
    assert filled.linked == APP


SYNCS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "all": (("sync",), {"base": "1.0"}),
    "extra": (("sync --extra test",), {"base": "1.0", "leaf": "1.0"}),
    "group": (("sync --group tools",), {"base": "1.0", "leaf": "1.0"}),
    "less again": (("sync --all-extras", "sync"), {"base": "1.0"}),
    "inexact": (("sync --all-extras", "sync --inexact"), {"base": "1.0", "leaf": "1.0"}),
    "locked": (("lock", "sync --locked --all-groups"), {"base": "1.0", "leaf": "1.0"}),
    "frozen": (("lock", "sync --frozen --link-mode copy"), {"base": "1.0"}),
    "without the project": (("sync --no-install-project",), {"base": "1.0"}),
    "reinstall": (("sync", "sync --reinstall"), {"base": "1.0"}),
    "upgrade": (("sync", "sync --upgrade"), {"base": "1.0"}),
    "the active environment": (("sync --active",), {"base": "1.0"}),
}


@pytest.mark.parametrize("case", SYNCS)
def test_it_syncs_what_uv_syncs(case: str, filled: Twins, python: Path) -> None:
    lines, linked = SYNCS[case]
    for which in filled.programs:
        environment = filled.root / which / "env"
        shutil.rmtree(environment)
        chosen = {"UV_PYTHON": str(python), "UV_PROJECT_ENVIRONMENT": str(environment)}
        if case == "the active environment":
            del chosen["UV_PROJECT_ENVIRONMENT"]
        for line in lines:
            given = ("--project", "{folder}/demo", *line.split())
            answer = filled.run(which, *given, **chosen)
            assert answer.returncode == 0, answer.stderr
    filled.compare()
    assert filled.linked == linked
    plain, ours = (filled.root / which for which in filled.programs)
    for file in ("demo/uv.lock", "env/pyvenv.cfg"):
        assert (ours / file).read_text() == (plain / file).read_text()
    assert not (ours / "demo/.venv").exists()


def test_it_builds_what_settings_forbid_wheels_of(filled: Twins, python: Path) -> None:
    for which in filled.programs:
        with open(filled.root / which / "demo/pyproject.toml", "a") as file:
            file.write('[tool.uv]\nno-binary-package = ["base"]\n')
        answer = filled.run(
            which, "sync", "--project", "{folder}/demo", UV_PYTHON=str(python)
        )
        assert answer.returncode != 0, "there is no source of it"
    assert not list((filled.root / "ours/demo/.venv").glob("lib/*/site-packages/base*"))


def test_other_commands_are_uvs(filled: Twins) -> None:
    for line in (
        "--version",
        "self version --output-format json",
        "pip list --format json",
        "pip install --help",
        "venv --clear -q env",
        "--color never pip freeze",
        "python find",
        "run --no-project python -c 'raise-SystemExit(3)'",
    ):
        answers = [filled.run(which, *line.split()) for which in filled.programs]
        plain, ours = (
            (a.returncode, a.stdout.replace(w, ""), a.stderr.replace(w, ""))
            for a, w in zip(
                answers, (str(filled.root / w) for w in filled.programs), strict=True
            )
        )
        assert ours == plain
