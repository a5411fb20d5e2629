"""A project, a frontend to work on it with, and what the documentation says to type."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from environments import quiet_variables, run
from wheelhouse import CHECKOUT

PROJECT = Path(__file__).with_name("project")
"""A package with requirements, tests, and a configuration for every frontend."""
NAME = "visiting-card"
REQUIREMENTS = {"jinja2", "markupsafe", "pyyaml"}
"""What it takes to run it. Its tests need more."""

PAGES = (CHECKOUT / "README.md", CHECKOUT / "docs/frontends.md")
_SNIPPET = re.compile(
    r"^<!-- frontend: (\S+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL
)

_FRONTENDS = ("HATCH_", "NOX_", "PDM_", "POETRY_", "PRE_COMMIT_", "TOX_")
"""Variables that frontends read, and that tox, for one, gives to what it runs."""

Completed = subprocess.CompletedProcess[str]


def snippets(page: Path) -> dict[str, str]:
    """What a page says to type, for each frontend."""
    return dict(_SNIPPET.findall(page.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Workplace:
    """A home folder, a project, and the environment in which its user has frontends."""

    root: Path
    variables: dict[str, str]

    @classmethod
    def make(
        cls,
        root: Path,
        python: Path,
        wheel: Path,
        caches: Path,
        frontends: Collection[str],
    ) -> Workplace:
        """A new one, where pip can install commonwheel from ``wheel``."""
        wheels, tools = root / "wheels", root / "tools"
        wheels.mkdir()
        (wheels / wheel.name).symlink_to(wheel)
        shutil.copytree(PROJECT, root / "project")
        path = (str(tools / "bin"), str(python.parent), *_path())
        variables = {
            **_variables(root / "home"),
            "PATH": os.pathsep.join(path),
            "PIP_CACHE_DIR": str(caches / "pip"),
            "UV_CACHE_DIR": str(caches / "uv"),
        }
        for name, separator in (("PIP_FIND_LINKS", " "), ("UV_FIND_LINKS", ",")):
            given = (variables.get(name), str(wheels))
            variables[name] = separator.join(filter(None, given))
        place = cls(root, variables)
        place.home.mkdir()
        uv = (sys.executable, "-m", "uv")
        place.run(*uv, "venv", "--seed", "--python", python, tools)
        if frontends:
            place.run(*uv, "pip", "install", "--python", tools, *frontends)
        return place

    @property
    def project(self) -> Path:
        """The project's folder, where commands are run."""
        return self.root / "project"

    @property
    def home(self) -> Path:
        """The user's home folder."""
        return self.root / "home"

    def give(self, program: str) -> None:
        """Put a program on the user's ``PATH``, outside of the frontend's environment."""
        folder = self.root / "bin"
        folder.mkdir()
        (folder / Path(program).name).symlink_to(program)
        self.variables["PATH"] += f"{os.pathsep}{folder}"

    def commit(self, folder: Path) -> None:
        """Make ``folder`` a repository that holds what is in it."""
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        self.run("git", "-C", folder, "init", "--quiet")
        self.run("git", "-C", folder, "add", "--all")
        self.run("git", "-C", folder, *who, "commit", "--quiet", "--message=All")

    def run(self, *command: object, check: bool = True) -> Completed:
        """Run a program that is on the user's ``PATH``."""
        name, *others = map(str, command)
        program = shutil.which(name, path=self.variables["PATH"])
        assert program is not None, f"there is no {name}"
        return run([program, *others], check=check, cwd=self.project, env=self.variables)

    def type(self, name: str, *, last: str | None = None) -> str:
        """Run what the documentation says to type; returns what is said.

        ``last`` is a command in the place of the last line.
        """
        text = next(shown[name] for shown in map(snippets, PAGES) if name in shown)
        if last is not None:
            text = "\n".join([*text.splitlines()[:-1], last])
        done = self.run("sh", "-euc", text)
        return done.stdout + done.stderr

    def check(self, environment: Path, *, copied: Collection[str]) -> None:
        """All that ``environment`` holds is linked, but for what is said to be copied.

        It is in order, as pip and commonwheel say.
        """
        told = json.loads(self.run("commonwheel", "status", "--json", environment).stdout)
        assert all(each["present"] for each in told["linked"])
        linked = {each["name"] for each in told["linked"]}
        python = environment / "bin/python"
        code = (
            "from importlib.metadata import distributions\n"
            "for each in distributions():\n print(each.name)"
        )
        names = self.run(python, "-I", "-c", code).stdout.split()
        assert len(set(names)) == len(names)
        installed = set(map(canonicalize_name, names))
        assert installed - linked == set(copied), f"linked: {sorted(linked)}"
        assert installed >= linked >= REQUIREMENTS
        self.run("commonwheel", "doctor", environment)
        self.run("pip", "--python", python, "check")
        # what was installed for commonwheel has not harmed the frontend
        self.run("pip", "check")

    def test(self, environment: Path) -> None:
        """The project's tests pass, run by ``environment``."""
        said = self.run(environment / "bin/python", "-m", "pytest").stdout
        assert " passed" in said

    @contextmanager
    def left_alone(
        self, environment: Path, *, but: Collection[str] = ()
    ) -> Iterator[None]:
        """What happens meanwhile keeps every link of ``environment`` as it is."""
        before = _links(environment)
        yield
        after = _links(environment)
        assert before.keys() == after.keys()
        assert {name for name in before if after[name] != before[name]} == set(but)


def _links(environment: Path) -> dict[str, tuple[int, int]]:
    """The link manifests of an environment, each with what tells it from a later one."""
    found = environment.glob("lib/python*/site-packages/_commonwheel/links/*.link")
    statuses = ((path.stem, path.stat()) for path in found)
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in statuses}


def _path() -> Iterator[str]:
    """The folders on ``PATH``, without those of the environment that tests run in."""
    ours = {os.path.dirname(sys.executable), os.path.join(sys.prefix, "bin")}
    yield from (
        folder for folder in os.environ["PATH"].split(os.pathsep) if folder not in ours
    )


def _variables(home: Path) -> dict[str, str]:
    """Environment variables of somebody new, who has the index that tests have."""
    quiet = quiet_variables(home)
    for name in ("PIP_CONFIG_FILE", "UV_OFFLINE"):  # these are not to be quiet
        del quiet[name]
    kept = {name: quiet[name] for name in quiet if not name.startswith(_FRONTENDS)}
    index = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "UV_"))
    }
    return {**kept, **index, "PDM_CHECK_UPDATE": "0"}
