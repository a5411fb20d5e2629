"""``commonwheel sync`` with locks that uv and pip make, of an index on this machine."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import interpreters
from conftest import Make
from environments import Environment, Templates, run, store_contents
from environments import tree as describe
from index import Index, serve
from wheelhouse import PIPS, Wheelhouse, write_sample, write_wheel

PYTHONS = ("3.10", "3.13")
"""Of the environments that are made equal to locks."""
OLD = "3.9"
"""Younger pips do not run on it, but an environment may have it."""

UV = (sys.executable, "-m", "uv")
BACKEND = r"""
import base64, hashlib, pathlib, zipfile

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

def build_wheel(folder, config_settings=None, metadata_directory=None, editable=None):
    name = NAME
    info = f"{name}-1.0.dist-info"
    here = pathlib.Path(__file__).parent
    files = {f"{info}/METADATA": METADATA.format(name), f"{info}/WHEEL": WHEEL}
    if editable:
        files[f"{name}.pth"] = str(here)
    else:
        files[f"{name}.py"] = (here / f"{name}.py").read_text()
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        rows.append(f"{path},sha256={digest.decode().rstrip('=')},{len(text)}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel

def build_editable(folder, config_settings=None, metadata_directory=None):
    return build_wheel(folder, editable=True)
"""
"""A build backend that needs nothing from an index."""


def project_files(name: str, *, requires: str = "", more: str = "") -> dict[str, str]:
    """A project that builds itself."""
    return {
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "1.0"\n'
        f'requires-python = ">=3.9"\ndependencies = [{requires}]\n{more}\n'
        "[build-system]\nrequires = []\n"
        'build-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.replace("NAME", repr(name)),
        f"{name}.py": "where = __file__\n",
    }


def write_project(folder: Path, name: str, **more: str) -> Path:
    folder.mkdir(parents=True)
    for file, text in project_files(name, **more).items():
        (folder / file).write_text(text)
    return folder


def write_sdist(folder: Path, name: str) -> Path:
    path = folder / f"{name}-1.0.tar.gz"
    files = project_files(name)
    files["PKG-INFO"] = f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{file}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Wheelhouse) -> Path:
    """What the index has: wheels of the index, by hand, for one Python, and a source."""
    folder = tmp_path_factory.mktemp("published")
    for python in map(interpreters.require, PYTHONS):
        write_sample(folder, python)
    for name in ("six", "idna", "attrs"):
        shutil.copy(next(wheelhouse.folder.glob(f"{name}-*.whl")), folder)
    write_sdist(folder, "sourced")
    requires = ("six", "sample-ext", "sample-data")
    write_wheel(folder, "app", "1.0", {"app.py": ""}, requires=requires)
    return folder


@pytest.fixture
def index(published: Path, tmp_path: Path) -> Iterator[Index]:
    with serve(published) as served:
        yield served


@dataclass
class Desk:
    """Where somebody sits: a folder, a commonwheel, an index and environments."""

    folder: Path
    own: Environment
    """It has commonwheel and a pip."""
    index: Index

    @property
    def variables(self) -> dict[str, str]:
        """Where the index is, for pip and for uv."""
        return {
            **self.own.variables,
            "UV_OFFLINE": "0",
            "UV_INDEX_URL": self.index.url,
            "PIP_INDEX_URL": self.index.url,
            "PIP_CACHE_DIR": str(self.folder / "pip-cache"),
        }

    def run(self, *command: object, **options: bool) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder."""
        return run(command, env=self.variables, cwd=self.folder, **options)

    def sync(
        self, lock: Path, environment: Path, *options: object, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """``commonwheel sync``."""
        program = self.own.path / "bin/commonwheel"
        return self.run(
            program, "sync", "--python", environment, *options, lock, check=check
        )

    def environment(self, name: str, version: str = PYTHONS[-1]) -> Path:
        """A new environment, without pip."""
        python = interpreters.require(version)
        run([python, "-m", "venv", "--without-pip", self.folder / name])
        return self.folder / name

    def lock(self, wanted: str, name: str = "pylock.toml", *options: str) -> Path:
        """What uv locks for the requirements ``wanted``."""
        (self.folder / "wanted.in").write_text(wanted)
        kind = "pylock.toml" if name.endswith(".toml") else "requirements.txt"
        python = interpreters.require(PYTHONS[-1])
        # a lock for all Pythons, so of all wheels
        universal = ("--universal", "--python-version", "3.10", "--python", python)
        self.run(
            *(*UV, "pip", "compile", "-q", "wanted.in", "-o", name),
            *(*universal, "--format", kind, *options),
        )
        return self.folder / name


@pytest.fixture
def desk(tmp_path: Path, make: Make, index: Index) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder, make("own"), index)


def listed(desk: Desk, environment: Path) -> set[str]:
    """What uv says is installed, as NAME==VERSION."""
    return set(
        desk.run(*UV, "pip", "freeze", "-q", "--python", environment).stdout.splitlines()
    )


def is_linked(environment: Path, name: str) -> bool:
    return bool(
        list(environment.glob(f"lib/*/site-packages/_commonwheel/links/{name}.link"))
    )


# equal to what uv makes of the same lock


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("kind", ["pylock", "hashed", "plain"])
def test_the_result_is_what_uv_makes_of_the_lock(
    desk: Desk, version: str, kind: str
) -> None:
    wanted = "app\nidna ; python_version >= '3.11'\nattrs\n"
    lock = {
        "pylock": lambda: desk.lock(wanted),
        "hashed": lambda: desk.lock(wanted, "requirements.txt", "--generate-hashes"),
        "plain": lambda: desk.lock(wanted, "requirements.txt"),
    }[kind]()
    ours, theirs = (desk.environment(name, version) for name in ("ours", "theirs"))
    desk.lock("idna", "before.txt")
    desk.sync(desk.folder / "before.txt", ours)
    done = desk.sync(lock, ours)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    preview = ("--preview-features", "pylock") if kind == "pylock" else ()
    desk.run(*UV, "pip", "sync", "-q", *preview, "--python", theirs, lock)
    assert listed(desk, ours) == listed(desk, theirs)
    assert any(each.startswith("idna==") for each in listed(desk, ours)) == (
        version != "3.10"
    )
    desk.run(*UV, "pip", "check", "--python", ours)
    output = desk.run(ours / "bin/sample-console", "three", check=False)
    assert (output.returncode, output.stdout) == (3, "console 2.0 three\n")
    again = desk.sync(lock, ours)
    assert again.stderr.startswith("Nothing to do")


def test_a_python_that_pip_does_not_run_on_gets_its_wheels(desk: Desk) -> None:
    lock = desk.folder / "requirements.txt"
    lock.write_text("six==1.17.0\n")
    environment = desk.environment("old", OLD)
    desk.sync(lock, environment)
    assert is_linked(environment, "six")


def test_the_oldest_pip_does_it_too(desk: Desk, templates: Templates) -> None:
    python, path = interpreters.require("3.11"), desk.own.path.with_name("oldest")
    desk.own = templates.make(path, python, PIPS[0], store=desk.own.store)
    write_project(desk.folder / "project", "project")
    lock = desk.lock("six\nsourced", "r.txt", "--generate-hashes")
    with lock.open("a") as file:
        file.write("-e ./project\n")
    environment = desk.environment("environment", "3.11")
    before = describe(environment)
    (path,) = desk.index.folder.glob("six-*.whl")
    desk.index.altered[path.name] = b"another"
    answer = desk.sync(lock, environment, "--allow-sdist", check=False)
    assert "was refused: " in answer.stderr.splitlines()[-1]
    assert describe(environment) == before
    desk.index.altered.clear()
    desk.sync(lock, environment, "--allow-sdist")
    assert is_linked(environment, "six")
    assert is_linked(environment, "sourced")
    desk.run(environment / "bin/python", "-Pc", "import project")
    assert desk.sync(lock, environment).stderr.startswith("Nothing to do")


def test_pip_s_own_lock(desk: Desk) -> None:
    write_project(desk.folder / "project", "project", requires='"six"')
    pip = (desk.own.python, "-m", "pip", "-q")
    desk.run(*pip, "lock", "-o", "pylock.toml", "./project", "six", "idna")
    environment = desk.environment("environment", "3.12")
    done = desk.sync(desk.folder / "pylock.toml", environment)
    assert "installed 1 with pip" in done.stderr
    found = listed(desk, environment)
    assert "six==1.17.0" in found
    assert any(each.startswith("project @ file://") for each in found)
    assert is_linked(environment, "idna")
    assert not is_linked(environment, "project")


def test_uv_s_export_with_an_editable_project_and_groups(desk: Desk) -> None:
    folder = write_project(
        desk.folder / "my project",
        "project",
        requires='"six"',
        more='[dependency-groups]\ndev = ["idna"]\n',
    )
    desk.folder = folder
    python = interpreters.require(PYTHONS[-1])
    for kind, name in (("pylock.toml", "pylock.toml"), ("requirements-txt", "r.txt")):
        export = (*UV, "export", "-q", "--python", python, "--format", kind, "-o", name)
        desk.run(*export)
    environment = desk.environment("environment")
    desk.sync(folder / "pylock.toml", environment)
    code = "import project, six; print(project.where)"
    output = desk.run(environment / "bin/python", "-P", "-c", code).stdout
    assert output.strip() == str(folder / "project.py")
    assert any(each.startswith("idna==") for each in listed(desk, environment))
    for lock in ("pylock.toml", "r.txt"):
        # nothing is run for an editable project that has not changed
        assert desk.sync(folder / lock, environment).stderr.startswith("Nothing to do")
    refused = desk.sync(folder / "r.txt", environment, "--require-hashes", check=False)
    assert "a folder, which has no hash" in refused.stderr
    (folder / "only-six.txt").write_text("six==1.17.0\n")
    desk.sync(folder / "only-six.txt", environment)
    assert listed(desk, environment) == {"six==1.17.0"}
    assert desk.run(environment / "bin/python", "-Pc", code, check=False).returncode == 1


# nothing is started, nothing is asked


def test_a_warm_store_needs_no_pip_and_no_network(desk: Desk) -> None:
    lock = desk.lock("app\nattrs\n")
    first = desk.environment("first")
    done = desk.sync(lock, first)
    assert re.match(r"Fetched \d+;", done.stderr)
    assert desk.index.asked
    second = desk.environment("second")
    desk.index.asked.clear()
    trace = desk.folder / "trace"
    program = desk.own.path / "bin/commonwheel"
    desk.run(
        *("strace", "-f", "-s", "4096", "-o", trace, "-e", "trace=execve,connect,socket"),
        *(program, "sync", "--python", second, lock),
    )
    calls = trace.read_text()
    started = re.findall(r'execve\("([^"]+)", \[(.*?)\].*= 0', calls)
    # itself, and the environment's interpreter to say what it is
    assert len(started) == 2, started
    assert "environment_query.py" in started[1][1]
    assert not re.search(r"(connect|socket)\(", calls)
    assert desk.index.asked == []
    assert listed(desk, second) == listed(desk, first)


# what is refused, changes nothing


@pytest.fixture
def filled(desk: Desk) -> Path:
    """An environment with something in it."""
    environment = desk.environment("environment")
    desk.sync(desk.lock("idna", "before.txt"), environment)
    return environment


def refuse(desk: Desk, lock: Path, environment: Path, *options: str) -> str:
    """What ``sync`` says when it refuses; it has changed nothing."""
    before = describe(environment)
    stored = store_contents(desk.own.store)
    answer = desk.sync(lock, environment, *options, check=False)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert describe(environment) == before
    assert store_contents(desk.own.store) == stored
    (line,) = answer.stderr.splitlines()
    assert line.startswith("commonwheel: error: ")
    return line


def test_a_wheel_that_was_tampered_with_is_refused(desk: Desk, filled: Path) -> None:
    locks = [desk.lock("six"), desk.lock("six", "hashed.txt", "--generate-hashes")]
    (path,) = desk.index.folder.glob("six-*.whl")
    for content in (b"not a wheel", path.read_bytes() + b" "):
        desk.index.altered[path.name] = content
        for lock in locks:
            said = refuse(desk, lock, filled)
            assert re.search(
                r"six\S* was refused: six\S*whl has the sha256 .*, not", said
            )
    desk.index.altered.clear()
    for lock in locks:
        desk.sync(lock, filled)


def test_what_the_lock_is_not_for_is_one_line(desk: Desk, filled: Path) -> None:
    lock = desk.lock("app")
    text = lock.read_text()
    other = desk.folder / "pylock.other.toml"
    for line, said in (
        ('requires-python = ">=3.99"', "3.99"),
        ("environments = [\"sys_platform == 'win32'\"]", "environments"),
    ):
        kept = re.sub(r"^requires-python.*$", "", text, flags=re.MULTILINE)
        created = 'created-by = "uv"'
        other.write_text(kept.replace(created, f"{created}\n{line}"))
        assert said in refuse(desk, other, filled)
    foreign = desk.environment("foreign", "3.12")
    assert "sample-ext" in refuse(desk, lock, foreign)
    assert "no extra 'x'" in refuse(desk, lock, filled, "--extra", "x")
    plain = desk.lock("app", "plain.txt")
    assert "no hash" in refuse(desk, plain, filled, "--require-hashes")


def test_a_source_needs_leave_and_is_built_once(desk: Desk, filled: Path) -> None:
    locks = [desk.lock("sourced"), desk.lock("sourced", "r.txt")]
    for lock in locks:
        assert "--allow-sdist" in refuse(desk, lock, filled)
    done = desk.sync(locks[0], filled, "--allow-sdist")
    assert "Built 1, removed 1" in done.stderr
    assert is_linked(filled, "sourced")
    another = desk.environment("another")
    for lock in locks:
        desk.index.asked.clear()
        assert desk.sync(lock, another).stderr.startswith(("Linked 1", "Nothing to do"))
        assert desk.index.asked == []


def test_a_source_that_was_tampered_with_is_refused(desk: Desk, filled: Path) -> None:
    lock = desk.lock("sourced")
    (path,) = desk.index.folder.glob("sourced-*")
    desk.index.altered[path.name] = path.read_bytes() + b"\0"
    before = describe(filled)
    answer = desk.sync(lock, filled, "--allow-sdist", check=False)
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert re.search(r"sourced was refused: .* has the sha256", last)
    assert describe(filled) == before


def test_a_project_that_does_not_build_is_said_with_pip_s_words(
    desk: Desk, filled: Path
) -> None:
    folder = write_project(desk.folder / "broken", "broken")
    (folder / "backend.py").write_text("raise ValueError('broken on purpose')")
    lock = desk.folder / "requirements.txt"
    lock.write_text("six==1.17.0\n./broken\n")
    answer = desk.sync(lock, filled, check=False)
    assert answer.returncode == 1
    assert "broken on purpose" in answer.stderr
    last = answer.stderr.splitlines()[-1]
    assert last.endswith("all else that the lock names is in place")
    assert listed(desk, filled) == {"six==1.17.0"}


def test_an_interrupt_changes_nothing_and_leaves_no_pip(desk: Desk, filled: Path) -> None:
    lock = desk.lock("six")
    before = describe(filled)
    desk.index.asked.clear()
    desk.index.wait.clear()
    program = desk.own.path / "bin/commonwheel"
    running = subprocess.Popen(
        [program, "sync", "--python", filled, lock],
        env=desk.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not any(path.endswith(".whl") for path in desk.index.asked):
            time.sleep(0.02)
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
        # the group is gone, pip with it
        with pytest.raises(ProcessLookupError):
            os.killpg(running.pid, 0)
    finally:
        desk.index.wait.set()
        running.kill()
        running.wait()
    assert (running.returncode, said.count("\n")) == (1, 1)
    assert "interrupted; what was not complete was taken back" in said
    assert describe(filled) == before


# the plan


def test_a_dry_run_prints_the_plan_and_changes_nothing(desk: Desk, filled: Path) -> None:
    write_project(desk.folder / "project", "project")
    lock = desk.lock("six\nattrs", "r.txt")
    (attrs,) = re.findall(r"^attrs==\S+", lock.read_text(), re.MULTILINE)
    desk.sync(lock, desk.environment("another"))
    lock.write_text(f"six==1.17.0\n{attrs}\napp==1.0\n-e ./project\n")
    before = describe(desk.folder)
    printed = desk.sync(lock, filled, "--dry-run")
    assert printed.stderr == ""
    idna = re.findall(r"idna==(\S+)", (desk.folder / "before.txt").read_text())
    assert printed.stdout.splitlines() == [
        f"- idna {idna[0]}",
        "+ app 1.0  (fetch)",
        f"+ {attrs.replace('==', ' ')}  (store)",
        "+ project  (project)",
        "+ six 1.17.0  (store)",
    ]
    asked = desk.sync(lock, filled, "--dry-run", "--json")
    assert describe(desk.folder) == before
    done = desk.sync(lock, filled, "--json")
    assert json.loads(asked.stdout) == json.loads(done.stdout)
    plan = json.loads(done.stdout)
    assert [each["name"] for each in plan["removed"]] == ["idna"]
    assert {each["name"]: each["from"] for each in plan["installed"]} == {
        "six": "store",
        "attrs": "store",
        "app": "fetch",
        "project": "project",
    }


# mending


def test_pip_and_commonwheel_stay_where_they_are(desk: Desk) -> None:
    own = desk.own
    names = set(own.installed())
    lock = desk.lock("six")
    program = own.path / "bin/commonwheel"
    desk.run(own.python, "-m", "pip", "install", "-q", "idna")
    # into the environment that it runs in itself
    desk.run(program, "sync", "--python", own.path, lock)
    assert set(own.installed()) == {*names, "six"}
    desk.run(program, "sync", "--python", own.path, "--dry-run", lock)


def test_what_others_have_copied_or_broken_is_linked_anew(desk: Desk) -> None:
    lock = desk.lock("six\nsample-data")
    environment = desk.environment("environment")
    desk.run(*UV, "pip", "install", "-q", "--python", environment, "six", "sample-data")
    assert "Fetched 2;" in desk.sync(lock, environment).stderr
    assert is_linked(environment, "six")
    assert not list(environment.glob("lib/*/site-packages/six.py"))
    for entry in (desk.own.store / "entries").glob("six-*"):
        entry.rename(desk.folder / "lost")
    assert "Fetched 1;" in desk.sync(lock, environment).stderr
    desk.run(environment / "bin/python", "-c", "import six, sample_data")
