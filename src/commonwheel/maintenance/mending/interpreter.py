"""The interpreter that a virtual environment is based on, replaced by another one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from commonwheel.errors import InvalidEnvironment
from commonwheel.maintenance.mending.links import text_of
from commonwheel.relocation import CONFIGURATION, has_system_packages


def renew(folder: Path, python: Path) -> None:
    """Make ``python`` the interpreter of the virtual environment ``folder``.

    ``python -m venv --upgrade`` leaves links to an interpreter that is gone, or is
    another one, as they are: they are taken away first.

    :raises InvalidEnvironment: it could not be done; all is as before
    """
    configuration = text_of(folder / CONFIGURATION) or ""
    command = [str(python), "-I", "-m", "venv", "--upgrade"]
    if has_system_packages(configuration):
        command.append("--system-site-packages")
    if not any(folder.glob("lib*/py*/site-packages/pip-*.dist-info")):
        command.append("--without-pip")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    links = {
        path: os.readlink(path) for path in scripts.glob("python*") if path.is_symlink()
    }
    for path in links:
        path.unlink()
    try:
        subprocess.run(
            [*command, str(folder)], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        for path, target in links.items():
            path.unlink(missing_ok=True)
            path.symlink_to(target)
        said = getattr(error, "stderr", "") or str(error)
        raise InvalidEnvironment(python, said.strip().splitlines()[-1]) from error
