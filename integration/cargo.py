"""A distribution by hand that has one of everything that a wheel can have."""

from __future__ import annotations

import random
from pathlib import Path

from wheelhouse import write_wheel

NAME = "cargo"
NOISE = random.Random(0).randbytes(2 << 20)
"""Of ``cargo/library.bin``: no filesystem makes less of it."""
EMPTY = bytes(2 << 20)
"""Of ``cargo/zeros.bin``, in the middle."""

_MODULE = """
VERSION = {version!r}

def main():
    print("console", VERSION)
"""


def write_cargo(folder: Path, version: str = "1.0") -> Path:
    """Write its wheel into ``folder``; each version has files of its own."""
    data = f"{NAME}-{version}.data"
    scripts = ("cargo-script", "cargo.sh")
    return write_wheel(
        folder,
        NAME,
        version,
        {
            "cargo/__init__.py": _MODULE.format(version=version),
            "cargo/inner/__init__.py": "",
            "cargo/inner/leaf.py": f"VERSION = {version!r}\n",
            "cargo/not_python.py": "def (\n",
            f"cargo/only_{version[0]}.py": "",
            "cargo/py.typed": "",
            "cargo/settings.ini": f"[cargo]\nversion = {version}\n",
            "cargo/tool.sh": "#!/bin/sh\necho tool\n",
            "cargo/b\u00e9b\u00e9, \u201cone\u201d.txt": version,
            "cargo/library.bin": NOISE + version.encode(),
            "cargo/zeros.bin": b"from" + EMPTY + b"to",
            "cargo_module.py": f"VERSION = {version!r}\n",
            "cargo.pth": "import sys; sys.started_by_cargo = True\n",
            "cargo_space/part/__init__.py": "",
            "cargo_space/part/table.csv": version,
            "{data}/purelib/cargo_pure.py": "",
            "{data}/platlib/cargo_plat/__init__.py": "",
            "{data}/headers/cargo.h": f"/* {version} */",
            "{data}/data/etc/cargo.conf": version,
            f"{{data}}/data/share/cargo/{version}.txt": version,
            "{data}/scripts/cargo-script": "#!python\nimport cargo\n"
            "print('script', cargo.VERSION)\n",
            "{data}/scripts/cargo.sh": "#!/bin/sh\necho shell\n",
        },
        entry_points="[console_scripts]\ncargo-console = cargo:main\n"
        f"cargo-console-{version} = cargo:main\n[gui_scripts]\ncargo-gui = cargo:main\n",
        executable=("cargo/tool.sh", *(f"{data}/scripts/{name}" for name in scripts)),
    )


USE = """
import sys, cargo, cargo_module, cargo_space.part, cargo_pure, cargo_plat
from cargo.inner import leaf
from importlib.metadata import version
assert cargo.VERSION == leaf.VERSION == cargo_module.VERSION == version("cargo")
assert sys.started_by_cargo
print(cargo.VERSION)
"""
"""Prints the version; every part of it is of the same one."""

SHARED = (
    "cargo/__init__.py",
    "cargo/library.bin",
    "cargo/tool.sh",
    "cargo_module.py",
    "cargo_plat/__init__.py",
    "cargo_space/part/table.csv",
    "cargo-{version}.dist-info/METADATA",
)
"""Some files that are the store's own as hard links."""
EDITED = ("cargo/settings.ini", "cargo.pth", "cargo-{version}.dist-info/RECORD")
"""Some in site-packages that never are."""
