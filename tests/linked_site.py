"""A linked environment built by hand: what the installer leaves, in a few lines.

``LinkedSite(tmp_path).link("six", {"six.py": "x = 1"})`` makes a virtual environment
and a store, and links the distribution ``six`` into it. The builder knows nothing of
the code under test but the layout that the runtime's docstring describes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

RUNTIME = Path(__file__).parents[1] / "src/commonwheel/runtime/_commonwheel.py"

START = """\
try:
 import _commonwheel
 _commonwheel.install(locals().get('sitedir'), {home!a})
except Exception:
 pass
"""

Files = Mapping[str, "str | bytes"]


class Interpreter(NamedTuple):
    """What the builder must know about the Python that it builds for."""

    executable: str
    """The base interpreter, outside every virtual environment."""
    version: str
    """As in ``3.12``."""
    stdlib: str
    cache_tag: str
    extension_suffix: str
    extension: str
    """The path of ``xxlimited``, an extension module outside any package, or ""."""

    @property
    def minor(self) -> int:
        return int(self.version.partition(".")[2])


@functools.cache
def interpreter(python: str) -> Interpreter:
    code = """
import importlib.util, json, os, sys, sysconfig
spec = importlib.util.find_spec("xxlimited")
print(json.dumps([
    os.path.realpath(sys._base_executable), "%d.%d" % sys.version_info[:2],
    os.path.dirname(os.__file__), sys.implementation.cache_tag,
    sysconfig.get_config_var("EXT_SUFFIX"), spec.origin if spec else ""]))
"""
    output = subprocess.check_output([python, "-I", "-S", "-c", code])
    return Interpreter(*json.loads(output))


class LinkedSite:
    """A virtual environment with a store, both below ``root``."""

    wrapper: tuple[str, ...] = ()
    """A program that starts the interpreter, with its arguments."""

    def __init__(
        self, root: Path, python: str = sys.executable, *, base: Path | None = None
    ) -> None:
        self.interpreter = interpreter(python)
        self.root = root
        self.store = root / "store"
        self.environment = root / "environment"
        self.python = self.environment / "bin/python"
        self.path = self.environment / f"lib/python{self.interpreter.version}"
        self.path /= "site-packages"
        self.own = self.path / "_commonwheel"
        self.view = self.own / "view"
        self.links = self.own / "links"
        for folder in (self.view, self.links, self.python.parent):
            folder.mkdir(parents=True)
        base_python = Path(self.interpreter.executable)
        if base is not None:
            base_python = base / "bin" / base_python.name
        (self.environment / "pyvenv.cfg").write_text(
            f"home = {base_python.parent}\n"
            f"include-system-site-packages = {str(base is not None).lower()}\n"
        )
        self.python.symlink_to(base_python)
        (self.view / ".commonwheel").touch()
        start = START.format(home=str(self.path))
        (self.path / "00_commonwheel.pth").write_text(
            f"import sys; exec({start!a})\n_commonwheel/view\n"
        )
        (self.path / "00_commonwheel.start").write_text("_commonwheel:install\n")
        shutil.copy(RUNTIME, self.path)

    def link(
        self,
        name: str,
        files: Files,
        version: str = "1.0",
        *,
        metadata: Files | None = None,
        bytecode: bool = False,
    ) -> Path:
        """Link a distribution of ``files``; gives its entry in the store."""
        entry = self.store / f"entries/{name}-{version}-1a2b3c4d"
        tree = entry / "tree"
        _write(tree, files)
        if bytecode:
            options = ["-m", "compileall", "-q", "--invalidation-mode"]
            subprocess.check_call(
                [self.interpreter.executable, *options, "unchecked-hash", str(tree)]
            )
        rows: list[str] = []
        self._link_into(self.view, tree, name, rows)
        _seal(tree)
        dist_info = f"{name}-{version}.dist-info"
        manifest = self.links / f"{name}.link"
        text = (
            f"commonwheel: 1\nname: {name}\nversion: {version}\nentry: {entry}\n"
            f"sha256: {'0' * 64}\nmetadata: {dist_info}\n"
        )
        manifest.write_bytes(os.fsencode(text))
        rows += [manifest.relative_to(self.path).as_posix()]
        self._describe(name, version, [*files, *rows], metadata or {})
        return entry

    def add(self, name: str, files: Files, version: str = "1.0") -> None:
        """Install a distribution of ``files`` as pip does by itself: as files."""
        _write(self.path, files)
        self._describe(name, version, list(files), {})

    def _link_into(self, folder: Path, tree: Path, name: str, rows: list[str]) -> None:
        for child in sorted(tree.iterdir()):
            place = folder / child.name
            if place.is_symlink() and place.is_dir():  # shared: becomes a real folder
                target = Path(os.readlink(place))
                place.unlink()
                place.mkdir()
                self._link_into(place, target, name, [])
            is_shared = child.name == "__pycache__" or place.exists()
            if child.is_dir() and (is_shared or all(c.is_dir() for c in child.iterdir())):
                place.mkdir(exist_ok=True)
                (place / f".{name}.commonwheel").touch()
                self._link_into(place, child, name, rows)
            elif not place.exists():
                place.symlink_to(child)
                rows.append(place.relative_to(self.path).as_posix())

    def _describe(
        self, name: str, version: str, rows: list[str], metadata: Files
    ) -> None:
        dist_info = self.path / f"{name}-{version}.dist-info"
        dist_info.mkdir(exist_ok=True)
        header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        _write(dist_info, {"METADATA": header, "INSTALLER": "pip\n", **metadata})
        rows = [*rows, f"{dist_info.name}/METADATA", f"{dist_info.name}/RECORD"]
        (dist_info / "RECORD").write_text("".join(f"{row},,\n" for row in rows))

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start this environment's interpreter with ``arguments``."""
        return subprocess.Popen(
            [*self.wrapper, str(self.python), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env={"PATH": os.defpath, **environ},
        )

    def execute(self, *arguments: str, **environ: str) -> str:
        """Run to a good end that prints nothing to stderr; gives the output."""
        process = self.start(*arguments, **environ)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, ""), errors
        return output.strip()

    def run(self, code: str, *options: str, **environ: str) -> str:
        """:meth:`execute` for the code of ``python -c``."""
        return self.execute(*options, "-c", code, **environ)

    def fail(self, *arguments: str, **environ: str) -> str:
        """Run to an uncaught exception; gives the last line of the traceback."""
        process = self.start(*arguments, **environ)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 1, (output, errors)
        return errors.strip().splitlines()[-1]


def base_environment(root: Path, python: str = sys.executable) -> Path:
    """The prefix of a base Python whose site-packages folder is empty and ours."""
    original = interpreter(python)
    executable = Path(original.executable)
    library = root / f"lib/python{original.version}"
    (library / "site-packages").mkdir(parents=True)
    (root / "bin").mkdir()
    try:  # a symbolic link would lead Python 3.9 and 3.10 to the original prefix
        os.link(executable, root / "bin" / executable.name)
    except OSError:
        shutil.copy(executable, root / "bin")
    for item in Path(original.stdlib).iterdir():
        if item.name != "site-packages":
            (library / item.name).symlink_to(item)
    return root


def _write(root: Path, files: Files) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _seal(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
