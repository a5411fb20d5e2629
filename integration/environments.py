"""Environments that tests install into, and what they and stores hold."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

RUNTIME = frozenset(
    {
        "00_commonwheel.pth",
        "_commonwheel.py",
        "_commonwheel/lock",
        "_commonwheel/view/.commonwheel",
    }
)
"""What may stay in a site-packages folder that something has been linked into."""

_DISTURBING = ("PIP_", "UV_", "PYTHON", "COMMONWHEEL_", "VIRTUAL", "COVERAGE", "XDG_")

Tree = dict[str, str]
"""What a folder holds: relative path -> kind and contents in short."""


def run(
    command: Sequence[object], *, check: bool = True, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` and capture what it says; a failure shows it."""
    answer = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )
    if check and answer.returncode != 0:
        line = " ".join(str(each) for each in command)
        pytest.fail(
            f"{line}\nexit status {answer.returncode}\n{answer.stdout}{answer.stderr}"
        )
    return answer


def quiet_variables(home: Path) -> dict[str, str]:
    """This process's environment variables without what changes how pip behaves."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().startswith(_DISTURBING)
    }
    quiet = {
        "HOME": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_CACHE_DIR": str(home / "uv"),
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    return {**kept, **quiet}


class Environment:
    """A virtual environment with a pip, and the store that it links to."""

    def __init__(self, path: Path, store: Path) -> None:
        self.path = path
        self.store = store
        self.python = path / "bin" / "python"
        self.home = path.parent / f"{path.name}-home"
        self.home.mkdir(exist_ok=True)
        self.variables = quiet_variables(self.home)
        self.variables["COMMONWHEEL_STORE"] = str(store)

    @property
    def site(self) -> Path:
        """Its site-packages."""
        return next((self.path / "lib").glob("py*/site-packages"))

    def run(
        self,
        *command: object,
        check: bool = True,
        variables: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with the environment's variables, and ``variables``."""
        kwargs.setdefault("cwd", self.home)
        environ = {**self.variables, **(variables or {})}
        return run(command, check=check, env=environ, **kwargs)

    def pip(self, *arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run the environment's pip."""
        return self.run(self.python, "-m", "pip", *arguments, **kwargs)

    def install(
        self,
        *arguments: object,
        wheels: Path | None = None,
        linked: bool = True,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[str]:
        """``pip install``, offline; the folder ``wheels`` is where it looks."""
        options = ["--no-index"]
        options += ["--find-links", str(wheels)] if wheels else []
        options += ["--use-shared-store"] if linked else []
        return self.pip("install", *options, *arguments, **kwargs)

    def code(self, code: str, *flags: str, **kwargs: Any) -> str:
        """What Python code prints in the environment."""
        return self.run(self.python, *flags, "-c", code, **kwargs).stdout.strip()

    def json(self, code: str) -> Any:
        """What Python code prints in the environment, as JSON."""
        return json.loads(self.code(code))

    def can_import(self, module: str) -> bool:
        """Whether ``module`` is there: neither an error, nor an empty namespace."""
        code = (
            "import importlib\n"
            f"try:\n module = importlib.import_module({module!r})\n"
            "except ModuleNotFoundError:\n print('no')\n"
            "else:\n print(module.__spec__.loader is not None"
            " and bool(module.__file__) and 'yes' or 'empty')"
        )
        found = self.code(code)
        assert found in ("yes", "no"), f"{module} is {found}"
        return found == "yes"

    def listed(self) -> dict[str, str]:
        """Name and version of each distribution, as ``pip list`` says."""
        rows = json.loads(self.pip("list", "--format=json").stdout)
        return {row["name"]: row["version"] for row in rows}

    def installed(self) -> dict[str, str]:
        """The same, as ``importlib.metadata`` says, which is quicker."""
        code = (
            "import json, importlib.metadata as m; found = m.distributions();"
            "print(json.dumps([[d.metadata['Name'], d.version] for d in found]))"
        )
        pairs = self.json(code)
        assert len(pairs) == len({name for name, _ in pairs}), "listed twice"
        return dict(pairs)

    def is_linked(self, name: str) -> bool:
        """Whether a distribution is linked, and not copied."""
        return (self.site / f"_commonwheel/links/{name}.link").is_file()

    def remove_commonwheel(self) -> None:
        """Uninstall commonwheel, not what it has linked."""
        self.pip("uninstall", "-y", "commonwheel")
        assert not list(self.site.glob("commonwheel*"))

    def tree(self) -> Tree:
        """Every file, link and folder of the environment.

        Bytecode of a source that is there is left out: it depends on what was imported.
        """
        return tree(self.path)

    def leftovers(self, before: Tree) -> set[str]:
        """What is in the environment that was not ``before`` and is not the runtime's.

        Empty folders for data and headers aside: before 26, pip leaves them as well when
        it uninstalls what it has copied itself.
        """
        site = self.site.relative_to(self.path).as_posix()
        runtime = {f"{site}/{each}" for each in RUNTIME}
        runtime |= {f"{site}/_commonwheel", f"{site}/_commonwheel/view"}
        runtime |= {f"{site}/_commonwheel/links"}
        return {
            path
            for path, kind in self.tree().items()
            if path not in before
            and path not in runtime
            and (path.startswith(f"{site}/") or not kind.startswith("folder"))
        }


def forget_bytecode(site: Path) -> None:
    """Take away the runtime's bytecode, which whoever imports it writes."""
    folder = site / "__pycache__"
    for compiled in folder.glob("_commonwheel.*"):
        compiled.unlink()
    if folder.is_dir() and not os.listdir(folder):
        folder.rmdir()


def tree(root: Path, *, contents: bool = True) -> Tree:
    """What the folder ``root`` holds; links are not followed."""
    found: Tree = {}
    for current, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(current, name)
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            if name == "__pycache__" or _is_bytecode(path):
                continue
            found[relative] = _describe(path, contents=contents)
        folders[:] = [f for f in folders if not os.path.islink(os.path.join(current, f))]
        if os.path.basename(current) == "__pycache__" and not files and not folders:
            found[os.path.relpath(current, root)] = "empty"
    return found


def _is_bytecode(path: str) -> bool:
    """Of a source file that is there (an orphan counts as a file)."""
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__" or not name.endswith(".pyc"):
        return False
    source = os.path.join(os.path.dirname(folder), f"{name.partition('.')[0]}.py")
    return os.path.exists(source)


def _describe(path: str, *, contents: bool) -> str:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return f"link {os.readlink(path)}"
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    if stat.S_ISDIR(status.st_mode):
        return f"folder {mode}"
    if not contents:
        return f"file {mode}"
    with open(path, "rb") as file:
        return f"file {mode} {hashlib.sha256(file.read()).hexdigest()[:16]}"


def store_contents(store: Path) -> Tree:
    """Everything that entries of ``store`` hold, bytecode too."""
    found: Tree = {}
    for current, folders, files in os.walk(store / "entries"):
        for name in (*folders, *files):
            path = os.path.join(current, name)
            found[os.path.relpath(path, store)] = _describe(path, contents=True)
    return found


def assert_untouched(store: Path, before: Tree) -> None:
    """Everything that was in ``store`` is there, unchanged, and nothing half-made."""
    now = store_contents(store)
    changed = {path for path in before if now.get(path) != before[path]}
    assert not changed
    assert not list((store / "tmp").glob("*"))


class Templates:
    """Makes environments by copying: one of each kind is made by hand in a session."""

    def __init__(self, root: Path, wheelhouse: Any) -> None:
        self._root = root
        self._wheelhouse = wheelhouse
        self._made: dict[tuple[Path, str, bool], Path] = {}

    def make(
        self,
        path: Path,
        python: Path,
        pip: str,
        *,
        store: Path | None = None,
        commonwheel: bool = True,
    ) -> Environment:
        """A new environment at ``path``, with version ``pip`` of pip."""
        template = self._template(python, pip, commonwheel=commonwheel)
        copy_environment(template, path)
        return Environment(path, store or path.parent / "store")

    def _template(self, python: Path, pip: str, *, commonwheel: bool) -> Path:
        key = (python, pip, commonwheel)
        if key not in self._made:
            number = len(list(self._root.iterdir()))
            path = self._root / f"template-{number}"
            path.mkdir()
            run([python, "-m", "venv", "--without-pip", path])
            self._fill(Environment(path, self._root / "store"), pip, commonwheel)
            self._made[key] = path
        return self._made[key]

    def _fill(self, environment: Environment, pip: str, commonwheel: bool) -> None:
        wheel = self._wheelhouse.pip(pip)
        wanted = [wheel, *([self._wheelhouse.commonwheel] if commonwheel else [])]
        environment.run(
            environment.python,
            f"{wheel}/pip",
            "install",
            "--no-compile",
            "--no-index",
            "--find-links",
            self._wheelhouse.folder,
            *wanted,
        )
        # What pip needs is compiled once, here.
        environment.install("six", wheels=self._wheelhouse.folder, linked=commonwheel)
        environment.pip("list")
        environment.pip("uninstall", "-y", "six")
        forget_runtime(environment.site)


def copy_environment(source: Path, target: Path) -> None:
    """Copy a virtual environment to another path; links go on pointing into its store."""
    shutil.copytree(source, target, symlinks=True)
    old, new = os.fsencode(source), os.fsencode(target)
    for file in (*(target / "bin").iterdir(), target / "pyvenv.cfg"):
        if not file.is_symlink():
            file.write_bytes(file.read_bytes().replace(old, new))


def forget_runtime(site: Path) -> None:
    """Take away what was left of the runtime in a site-packages folder."""
    shutil.rmtree(site / "_commonwheel", ignore_errors=True)
    for name in ("00_commonwheel.pth", "_commonwheel.py"):
        (site / name).unlink(missing_ok=True)
    forget_bytecode(site)


def this_python() -> Path:
    """The base interpreter of the one that runs the tests."""
    return Path(sys._base_executable)  # type: ignore[attr-defined]
