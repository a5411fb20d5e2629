"""``commonwheel run`` and ``activate`` with packages of the index, on every Python.

What is measured here in passing, run_figures.py measures.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import interpreters
import run_figures
from environments import Environment, Templates, run
from test_real_packages import as_somebody
from wheelhouse import NEWEST_PIP, write_wheel

WANTED = ("flask", "numpy", "rich")
BUDGET = 0.020
"""Seconds that a program may start later than without us, on a quiet machine."""
GENEROUS = 3
"""As many times the budget are allowed here: a machine is seldom quiet."""

Folders = Callable[[str], Path]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Wheels of the index for a Python, with a lock of them beside."""
    made: dict[str, Path] = {}

    def folder_for(version: str) -> Path:
        if version not in made:
            folder = tmp_path_factory.mktemp(f"wheels-{version}-")
            download(folder, version, *WANTED)
            (folder / "pylock.toml").write_text(pylock(folder))
            made[version] = folder
        return made[version]

    return folder_for


def download(folder: Path, version: str, *names: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
    binary = ["--only-binary=:all:", f"--python-version={version}"]
    run([*pip, *binary, "-d", folder, *names])


def pylock(folder: Path, *patterns: str, python: str = ">=3.8") -> str:
    """A lock of the wheels in ``folder``, as :pep:`751` has it."""
    lines = [
        'lock-version = "1.0"',
        'created-by = "hand"',
        f'requires-python = "{python}"',
    ]
    found = (path for each in patterns or ("*",) for path in folder.glob(f"{each}.whl"))
    for path in sorted(found):
        name, version, *_ = path.name.split("-")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [
            "[[packages]]",
            f'name = "{name.lower().replace("_", "-")}"',
            f'version = "{version}"',
            "[[packages.wheels]]",
            f'name = "{path.name}"',
            f'url = "https://nowhere.invalid/{path.name}"',
            f'hashes = {{sha256 = "{digest}"}}',
        ]
    return "\n".join([*lines, ""])


@dataclass
class Desk:
    """Where somebody sits: a commonwheel, a store, and a folder with a lock."""

    host: Environment
    folder: Path
    store: Path

    @property
    def lock(self) -> Path:
        return self.folder / "pylock.toml"

    @property
    def variables(self) -> dict[str, str]:
        return {
            "COMMONWHEEL_STORE": str(self.store),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder),
        }

    def fill(self) -> None:
        """Let the store have everything: a lock's URLs are nowhere."""
        wheels = sorted(self.folder.glob("*.whl"))
        made = self.host.path.with_name("filling")
        run([self.host.python, "-m", "venv", "--without-pip", made])
        command = [self.host.python, "-m", "commonwheel", "install", "--python", made]
        self.host.run(*command, *wheels, variables=self.variables)
        shutil.rmtree(made)

    def run(self, *command: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """``commonwheel run --lock LOCK COMMAND``, offline."""
        options = ["--offline", "--lock", self.lock]
        return self.command("run", *options, *command, **kwargs)

    def command(
        self, *command: object, variables: Mapping[str, str] | None = None, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        program = self.host.path / "bin/commonwheel"
        given = {**self.variables, **(variables or {})}
        return self.host.run(program, *command, variables=given, **kwargs)

    def python(self, code: str, **kwargs: Any) -> Any:
        """What Python code prints in the run environment, as JSON."""
        return json.loads(self.run("python", "-c", code, **kwargs).stdout)

    @property
    def runs(self) -> list[Path]:
        return sorted((self.store / "runs").iterdir())


@pytest.fixture
def desk_for(
    tmp_path: Path, templates: Templates, folders: Folders
) -> Callable[[str], Desk]:
    def make(version: str) -> Desk:
        python = interpreters.require(version)
        host = templates.make(tmp_path / "host", python, NEWEST_PIP)
        desk = Desk(host, folders(version), tmp_path / "store")
        desk.fill()
        return desk

    return make


@pytest.fixture
def desk(desk_for: Callable[[str], Desk]) -> Desk:
    return desk_for("3.12")


PROBE = """
import json, multiprocessing, os, subprocess, sys

def value(number):
    import numpy
    return int(numpy.arange(number).sum())

def ask(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

if __name__ == "__main__":
    import flask, numpy, rich, colorsys
    found = {"prefix": sys.prefix, "colorsys": colorsys.__file__}
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found[method] = pool.map(value, [10])
    code = "import rich, sys; print(sys.prefix)"
    found["itself"] = ask(sys.executable, "-c", code)
    found["named"] = ask("python", "-I", "-c", code)
    found["module"] = ask(sys.executable, "-m", "flask", "--version")
    found["script"] = ask("flask", "--version")
    found["environment"] = os.environ["VIRTUAL_ENV"]
    print(json.dumps(found))
"""


@pytest.mark.parametrize("version", interpreters.VERSIONS)
def test_ask_13_a_lock_chooses_versions_at_run_time_and_no_venv_is_needed(
    desk_for: Callable[[str], Desk], version: str, tmp_path: Path
) -> None:
    desk = desk_for(version)
    before = desk.host.tree()
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    for _ in range(2):  # the second time it is there
        found = json.loads(desk.run(script).stdout)
        (folder,) = desk.runs
        for key in ("prefix", "itself", "named", "environment"):
            assert found[key].strip() == str(folder)
        assert "site-packages" not in found["colorsys"]
        assert found["fork"] == found["spawn"] == found["forkserver"] == [45]
        assert found["module"] == found["script"]
        assert "Flask" in found["script"]
    assert desk.run("flask", "--version").stdout == found["script"]
    assert desk.host.tree() == before
    assert desk.python("import sys; print(list(sys.version_info[:2]))") == [
        int(part) for part in version.split(".")
    ]


def test_ask_13_a_script_with_its_requirements_and_a_lock_beside(
    desk: Desk, tmp_path: Path
) -> None:
    script = tmp_path / "show.py"
    header = (
        "# /// script\n# requires-python = '>=3.9'\n# dependencies = ['rich']\n# ///\n"
    )
    script.write_text(f"{header}import sys, rich\nprint(sys.prefix, *sys.argv[1:])\n")
    done = desk.command("run", script, check=False)
    assert done.returncode == 1
    assert "there is no lock beside it" in done.stderr
    shutil.copy(desk.lock, tmp_path / "pylock.show.toml")
    said = desk.command("run", script, "-x", "--lock", "y").stdout
    (folder,) = desk.runs
    assert said == f"{folder} -x --lock y\n"
    (tmp_path / "pylock.show.toml").rename(tmp_path / "show.py.lock")
    assert desk.command("run", script).stdout == f"{folder}\n"
    for old, new, told in (
        ("'rich'", "'rich>=1000'", "rich>=1000, and its lock has rich "),
        ("'rich'", "'absent'", "absent, which its lock does not name"),
        ("'>=3.9'", "'<3.9'", "needs Python <3.9, and "),
    ):
        other = tmp_path / "other.py"
        other.write_text(script.read_text().replace(old, new))
        shutil.copy(tmp_path / "show.py.lock", tmp_path / "other.py.lock")
        done = desk.command("run", other, check=False)
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert desk.runs == [folder]
    # as a program of its own
    tool = tmp_path / "tool"
    program = desk.host.path / "bin/commonwheel"
    tool.write_text(f"#!/usr/bin/env -S {program} run --script\n{script.read_text()}")
    tool.chmod(0o755)
    shutil.copy(tmp_path / "show.py.lock", tmp_path / "pylock.tool.toml")
    assert desk.host.run(tool, "z", variables=desk.variables).stdout == f"{folder} z\n"


CELLS = (
    "import commonwheel, sys\nbefore = set(sys.modules)",
    "commonwheel.activate('pylock.toml').distributions['rich']",
    """import numpy, rich, importlib.metadata as m
print(int(numpy.arange(10).sum()), m.version('rich'), rich.__file__)""",
    "[n for n in ('packaging', 'filelock', 'installer') if n in {*sys.modules} - before]",
    "commonwheel.activate('pylock.toml') is commonwheel.activate('pylock.toml')",
)


def test_ask_13_activation_in_a_notebook(desk: Desk, tmp_path: Path) -> None:
    """In a kernel, by the protocol that every notebook speaks."""
    tools = tmp_path / "tools"
    download(tools, "3.12", "ipykernel", "nbclient")
    desk.host.install("ipykernel", "nbclient", wheels=tools, linked=False)
    shutil.copy(desk.lock, tmp_path)
    cells = tmp_path / "cells.json"
    cells.write_text(json.dumps(CELLS))
    code = """
import json, nbclient, nbformat, sys
cells = [nbformat.v4.new_code_cell(each) for each in json.load(open(sys.argv[1]))]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=120).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""
    arguments = (desk.host.python, "-c", code, cells)
    variables = {**desk.variables, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    done = desk.host.run(*arguments, variables=variables, cwd=tmp_path)
    outputs = json.loads(done.stdout.splitlines()[-1])
    results = [[o for o in each if o.get("output_type") != "stream"] for each in outputs]
    assert all(each["output_type"] == "execute_result" for r in results for each in r)
    version = results[1][0]["data"]["text/plain"].strip("'")
    (shown,) = (o["text"] for o in outputs[2] if o.get("name") == "stdout")
    (folder,) = desk.runs
    assert shown.startswith(f"45 {version} {folder}/")
    assert results[3][0]["data"]["text/plain"] == "[]"
    assert results[4][0]["data"]["text/plain"] == "True"


def test_ask_13_names_are_what_the_store_has(desk: Desk) -> None:
    code = (
        "import commonwheel, json; done = commonwheel.activate(['flask', 'rich>=1']);"
        "import flask, rich; print(json.dumps(dict(done.distributions)))"
    )
    done = desk.host.run(desk.host.python, "-c", code, variables=desk.variables)
    found = json.loads(done.stdout)
    assert {"flask", "jinja2", "markupsafe", "werkzeug", "rich", "pygments"} <= {*found}
    assert "numpy" not in found
    shown = desk.command("run", "--with", "rich", "python", "-m", "rich.emoji")
    assert shown.returncode == 0


def test_activation_fetches_only_if_it_may(desk: Desk, tmp_path: Path) -> None:
    write_wheel(tmp_path / "more", "more", "1.0", {"more.py": "value = 5\n"})
    lock = tmp_path / "requirements.txt"
    lock.write_text("more==1.0\n")
    variables = {**desk.variables, "PIP_FIND_LINKS": str(tmp_path / "more")}
    code = (
        "import commonwheel; commonwheel.activate({!r}{}); import more; print(more.value)"
    )
    asked = (code.format(str(lock), each) for each in ("", ", offline=False"))
    refused, done = (
        desk.host.run(desk.host.python, "-c", each, check=False, variables=variables)
        for each in asked
    )
    assert "has no more 1.0, and nothing may be fetched" in refused.stderr
    assert done.stdout == "5\n"


def test_several_at_once_end_with_one(desk: Desk) -> None:
    program = [desk.host.path / "bin/commonwheel", "run", "--lock", desk.lock]
    code = "import flask, numpy, rich, sys; print(sys.prefix)"
    environment = {**desk.host.variables, **desk.variables}
    started = [
        subprocess.Popen(
            [*program, "python", "-c", code], stdout=-1, text=True, env=environment
        )
        for _ in range(4)
    ]
    said = {each.communicate(timeout=120)[0] for each in started}
    (folder,) = desk.runs
    assert said == {f"{folder}\n"}


def test_a_killed_one_leaves_what_the_next_one_finishes(desk: Desk) -> None:
    program = [desk.host.path / "bin/commonwheel", "run", "--lock", desk.lock, "true"]
    environment = {**desk.host.variables, **desk.variables}
    started = time.monotonic()
    desk.run("true")
    whole = time.monotonic() - started
    for number in range(12):
        shutil.rmtree(desk.runs[0], ignore_errors=True)
        running = subprocess.Popen(program, env=environment, start_new_session=True)
        time.sleep(whole * (number + random.random()) / 13)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert desk.python("import flask, numpy, rich; print(1)") == 1
        assert len(desk.runs) == 1


def test_what_was_collected_is_made_again(desk: Desk) -> None:
    code = "import rich, sys; print(__import__('json').dumps(sys.prefix))"
    folder = Path(desk.python(code))
    entries = sorted((desk.store / "entries").iterdir())
    desk.command("gc")
    assert folder.is_dir()
    old = time.time() - 31 * 24 * 3600
    os.utime(folder / "used", (old, old))
    assert desk.python(code) == str(folder)  # it counts as used
    desk.command("gc")
    assert folder.is_dir()
    assert sorted((desk.store / "entries").iterdir()) == entries
    os.utime(folder / "used", (old, old))
    desk.command("gc")
    assert not folder.exists()
    assert desk.python(code) == str(folder)


def test_what_was_taken_out_of_the_store_is_fetched_again(desk: Desk) -> None:
    desk.run("true")
    (entry,) = (desk.store / "entries").glob("rich-*")
    entry.rename(desk.store / "tmp/rich")
    done = desk.run("true", check=False)
    assert done.returncode == 1
    assert "has no rich " in done.stderr
    assert "without --offline" in done.stderr
    assert done.stderr.count("\n") == 1
    lock = desk.host.home / "requirements.txt"  # names, so that pip finds the files
    names = [path.name.split("-")[:2] for path in desk.folder.glob("*.whl")]
    lock.write_text("".join(f"{name}=={version}\n" for name, version in names))
    code = "import flask, numpy, rich"
    desk.command("run", "--lock", lock, "python", "-c", code)
    assert desk.run("python", "-c", code).returncode == 0


def test_a_store_that_cannot_be_written_is_enough(desk: Desk, tmp_path: Path) -> None:
    folder = desk.command("run", "--lock", desk.lock, "--prepare").stdout.strip()
    user = as_somebody()
    for current, _, _ in os.walk(desk.store):
        os.chmod(current, os.stat(current).st_mode & ~0o222)
    try:
        program = (*user, desk.host.path / "bin/commonwheel", "run", "--lock")
        code = ("python", "-c", "import numpy, sys; print(sys.prefix)")
        done = desk.host.run(*program, desk.lock, *code, variables=desk.variables)
        assert done.stdout.strip() == folder
        other = tmp_path / "other.toml"
        other.write_text(pylock(desk.folder, "rich-*", "[!r]*", python=">=3.9"))
        done = desk.host.run(
            *program, other, *code, variables=desk.variables, check=False
        )
        assert done.returncode == 1
        assert "--store FOLDER:STORE" in done.stderr
        chain = {**desk.variables, "COMMONWHEEL_STORE": f"{tmp_path}/mine:{desk.store}"}
        done = desk.host.run(*program, other, *code, variables=chain)
        assert done.stdout.startswith(f"{tmp_path}/mine/runs/")
        assert list((tmp_path / "mine/entries").iterdir()) == []
    finally:
        for current, _, _ in os.walk(desk.store):
            os.chmod(current, os.stat(current).st_mode | 0o200)


def test_what_does_not_fit_is_one_line(desk: Desk, tmp_path: Path) -> None:
    lock = tmp_path / "pylock.toml"
    lock.write_text(pylock(desk.folder, python="<3"))
    for given, told in (
        (["--lock", lock, "true"], "is not for "),
        (["--lock", tmp_path / "none.toml", "true"], "No such file"),
        (["--lock", desk.lock, "--extra", "x", "true"], "it has no extra 'x'"),
        (
            ["--lock", desk.lock, "--python", "9.9", "true"],
            "there is no such interpreter",
        ),
    ):
        done = desk.command("run", *given, check=False)
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    for given in (["--lock", desk.lock], ["true"], ["--bad", "true"]):
        assert desk.command("run", *given, check=False).returncode == 2
    assert not (desk.store / "runs").exists() or desk.runs == []


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A lock of 200 small distributions, which pip finds."""
    return run_figures.write_many(tmp_path / "many", run_figures.HANDWRITTEN)


def test_a_program_starts_as_quickly_as_without_us(
    desk: Desk, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**desk.host.variables, **desk.variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(many.parent))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    command = [desk.host.path / "bin/commonwheel", "run", "--lock", many]
    run_figures.call([*command, "true"])
    python = ["python", "-c", "pass"]
    spent = run_figures.compare([desk.host.python, *python[1:]], [*command, *python], 15)
    plain, ours = map(statistics.median, spent)
    assert ours - plain < GENEROUS * BUDGET


def test_a_console_script_of_the_lock_wins_over_others_on_path(
    desk: Desk, tmp_path: Path
) -> None:
    point = "[console_scripts]\nls = lister:main\n"
    files = {"lister.py": "def main():\n    print('lister')\n"}
    write_wheel(tmp_path, "lister", "1.0", files, entry_points=point)
    lock = tmp_path / "requirements.txt"
    lock.write_text("lister==1.0\n")
    links = {**desk.variables, "PIP_FIND_LINKS": str(tmp_path)}
    done = desk.command("run", "--lock", lock, "ls", variables=links)
    assert done.stdout == "lister\n"
    assert desk.command("run", "--lock", lock, "sh", "-c", "ls").stdout == "lister\n"
