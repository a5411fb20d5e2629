"""Root filesystems as small as an image's last stage: a Python, and what it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from environments import run

Completed = subprocess.CompletedProcess[str]

PLACE = "usr/local"
"""Where the Python is put."""
_UNNEEDED = (
    "site-packages",
    "test",
    "idlelib",
    "config-*",
    "*.a",
    "tkinter",
)
_TOOLS = ("sh", "dirname", "readlink", "mkdir", "mv", "touch")


class RootFilesystem:
    """A folder that programs run in as if it were all there is (``chroot``)."""

    def __init__(self, folder: Path, python: str) -> None:
        """One that is at ``folder``; ``python`` is its interpreter's path in it."""
        self.folder = folder
        self.python = python

    @classmethod
    def make(cls, folder: Path, python: Path) -> RootFilesystem:
        """A new one, with the base interpreter ``python`` in it."""
        for name in ("tmp", "etc", "dev"):
            (folder / name).mkdir(parents=True)
        # a file will do, and needs no right to make devices
        (folder / "dev/null").touch()
        (folder / "dev/null").chmod(0o666)
        (folder / "tmp").chmod(0o1777)
        real = python.resolve()
        made = cls(folder, f"/{PLACE}/bin/{real.name}")
        made._add_python(real)
        return made

    def _add_python(self, real: Path) -> None:
        prefix, target = real.parents[1], self.folder / PLACE
        (target / "bin").mkdir(parents=True)
        shutil.copy2(real, target / "bin")
        (target / "bin/python").symlink_to(real.name)
        shutil.copytree(
            prefix / "lib" / real.name,
            target / "lib" / real.name,
            symlinks=True,
            ignore=shutil.ignore_patterns(*_UNNEEDED),
        )
        for shared in prefix.glob("lib/libpython*.so*"):
            shutil.copy2(shared, target / "lib")
        extensions = target.glob("lib/*/lib-dynload/*.so")
        self.add_libraries([real, *extensions])

    def add_tools(self) -> None:
        """A shell, and what scripts need that look where they are."""
        (self.folder / "bin").mkdir()
        for name in _TOOLS:
            found = shutil.which(name, path="/usr/bin:/bin")
            assert found is not None
            shutil.copy2(os.path.realpath(found), self.folder / "bin" / name)
            self.add_libraries([Path(found)])

    def add_libraries(self, binaries: Iterable[Path]) -> None:
        """The machine's libraries that ``binaries`` need, as ``ldd`` says."""
        listed = run(["ldd", *binaries], check=False).stdout
        for path in set(re.findall(r"(?:=> )?(/\S+) \(0x", listed)):
            target = self.folder / path.lstrip("/")
            if not target.exists() and not path.startswith(str(self.folder)):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(os.path.realpath(path), target)

    def run(
        self,
        *command: object,
        check: bool = True,
        user: str = "0:0",
        variables: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a program in it, as ``user`` (``UID:GID``)."""
        program = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert program is not None
        chroot = (program, f"--userspec={user}", "--groups=", self.folder)
        environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", **(variables or {})}
        return run([*chroot, *command], check=check, env=environ, cwd="/")
