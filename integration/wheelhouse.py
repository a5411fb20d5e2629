"""Wheels: those that tests write by hand, and a folder of those from the index."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import interpreters
from environments import run

CHECKOUT = Path(__file__).parents[1]
PIPS = ("22.3", "23.2", "24.0", "24.3", "25.3", "26.3")
NEWEST_PIP = PIPS[-1]

BACKENDS = ("setuptools", "wheel", "hatchling", "editables", "tomli")
"""To build projects with; the last is for hatchling on Python 3.10."""
REAL = ("six", "idna", "attrs")
"""Pure wheels from the index: a module, a package, a package of two names."""

Files = Mapping[str, "str | bytes"]


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Files,
    *,
    tag: str = "py3-none-any",
    requires: tuple[str, ...] = (),
    entry_points: str = "",
    executable: tuple[str, ...] = (),
    record: Mapping[str, str] | None = None,
    filename: str | None = None,
    build: str = "",
) -> Path:
    """Write the wheel of a distribution into ``folder``.

    ``files`` are as in the archive, so ``NAME-VERSION.data/`` folders are among them;
    ``{data}`` in a path stands for that folder. ``record`` replaces hashes in RECORD.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    dist_info = f"{stem}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {each}\n" for each in requires]
    pure = "true" if tag.endswith("-any") else "false"
    contents = {path.format(data=f"{stem}.data"): data for path, data in files.items()}
    contents[f"{dist_info}/METADATA"] = "".join(metadata)
    contents[f"{dist_info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: handwritten\nRoot-Is-Purelib: {pure}\n"
        f"Tag: {tag}\n"
    )
    if entry_points:
        contents[f"{dist_info}/entry_points.txt"] = entry_points
    rows: list[tuple[str, str, str | int]] = []
    folder.mkdir(parents=True, exist_ok=True)
    stem += f"-{build}" if build else ""
    path = folder / (filename or f"{stem}-{tag}.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in contents.items():
            binary = data.encode() if isinstance(data, str) else data
            info = zipfile.ZipInfo(member, (2020, 2, 2, 2, 2, 2))
            mode = 0o755 if member in executable else 0o644
            info.external_attr = (0o100000 | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, binary)
            rows.append((member, _hash(binary), len(binary)))
        rows = [(p, (record or {}).get(p, h), size) for p, h, size in rows]
        rows.append((f"{dist_info}/RECORD", "", ""))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        archive.writestr(f"{dist_info}/RECORD", text.getvalue())
    return path


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.decode().rstrip('=')}"


class Sample(NamedTuple):
    """One of each kind of distribution, by hand; every version has files of its own."""

    folder: Path
    """Of their wheels, versions 1.0 and 2.0."""
    extension: str
    """The name of the extension module in ``sample_ext``."""

    names = (
        "sample-pure",
        "sample-ext",
        "sample-ns-one",
        "sample-ns-two",
        "sample-module",
        "sample-data",
        "sample-start",
        "sample-overlap-one",
        "sample-overlap-two",
    )

    @property
    def imports(self) -> str:
        """Code that imports something of each of them and prints their versions."""
        return IMPORTS.replace("EXTENSION", self.extension)


IMPORTS = """
import json, sys
import sample_pure.inner.leaf
import sample_ext.EXTENSION
import sample_space.one, sample_space.two.deep
import sample_module, sample_data, sample_start
import sample_shared.one, sample_shared.two, sample_shared.nested.two
assert sys.started_by_sample is True
assert not getattr(sample_space, "__file__", None)
modules = (sample_pure, sample_ext, sample_space.one, sample_space.two, sample_module,
           sample_data, sample_start, sample_shared.one, sample_shared.two)
print(json.dumps([module.VERSION for module in modules]))
"""


def write_sample(folder: Path, python: Path) -> Sample:
    """Write the wheels of :class:`Sample` for the interpreter ``python``."""
    extension = _an_extension_of(python)
    for version in ("1.0", "2.0"):
        _write_sample(folder, version, extension)
    return Sample(folder, extension.path.name.partition(".")[0])


class _Extension(NamedTuple):
    path: Path
    tag: str


@functools.cache
def _an_extension_of(python: Path) -> _Extension:
    code = """
import glob, importlib.util, json, os, sys, sysconfig
for name in ("xxlimited", "_queue", "_heapq", "_bisect", "_json"):
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.has_location:
        break
tag = "cp%d%d" % sys.version_info[:2]
platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
print(json.dumps([spec.origin, "-".join((tag, tag, platform))]))
"""
    output = subprocess.check_output([python, "-I", "-c", code], text=True)
    origin, tag = json.loads(output)
    return _Extension(Path(origin), tag)


def _write_sample(folder: Path, version: str, extension: _Extension) -> None:
    stated = f"VERSION = {version!r}\n"
    tied = {"1.0": "old", "2.0": "new"}[version]
    write_wheel(
        folder,
        "sample-pure",
        version,
        {
            "sample_pure/__init__.py": stated,
            "sample_pure/inner/__init__.py": "",
            "sample_pure/inner/leaf.py": stated,
            f"sample_pure/only_{tied}.py": "",
            f"sample_pure/{tied}/table.txt": version,
        },
        requires=("sample-module",),
    )
    write_wheel(
        folder,
        "sample-ext",
        version,
        {
            "sample_ext/__init__.py": stated,
            f"sample_ext/{extension.path.name}": extension.path.read_bytes(),
            "sample_ext.libs/libnothing.so": b"not really",
        },
        tag=extension.tag,
        executable=("sample_ext.libs/libnothing.so",),
    )
    write_wheel(
        folder, "sample-ns-one", version, {"sample_space/one/__init__.py": stated}
    )
    write_wheel(
        folder,
        "sample-ns-two",
        version,
        {
            "sample_space/two/__init__.py": stated,
            "sample_space/two/deep.py": stated,
            f"sample_space/{tied}_module.py": stated,
        },
    )
    write_wheel(
        folder,
        "sample-module",
        version,
        {"sample_module.py": stated, f"sample_module_{tied}.py": ""},
    )
    write_wheel(
        folder,
        "sample-data",
        version,
        {
            "sample_data/__init__.py": f"{stated}{SAMPLE_MAIN}",
            "{data}/scripts/sample-script": "#!python\nimport sample_data\n"
            "print('script', sample_data.VERSION)\n",
            f"{{data}}/scripts/sample-{tied}.sh": f"#!/bin/sh\necho {version}\n",
            "{data}/headers/sample.h": f"/* {version} */",
            f"{{data}}/data/share/sample/{tied}.txt": version,
            "{data}/data/etc/sample.conf": version,
            "{data}/purelib/sample_data/in_purelib.py": stated,
            "{data}/platlib/sample_data_plat/__init__.py": stated,
        },
        entry_points="[console_scripts]\nsample-console = sample_data:main\n"
        f"sample-console-{tied} = sample_data:main\n"
        "[gui_scripts]\nsample-gui = sample_data:main\n"
        "[sample.plugins]\none = sample_data\n",
        executable=(
            f"sample_data-{version}.data/scripts/sample-{tied}.sh",
            f"sample_data-{version}.data/scripts/sample-script",
        ),
    )
    write_wheel(
        folder,
        "sample-start",
        version,
        {
            "sample_start/__init__.py": stated,
            "sample_start.pth": "import sys; sys.started_by_sample = True\n",
        },
    )
    write_wheel(
        folder,
        "sample-overlap-one",
        version,
        {
            "sample_shared/__init__.py": "",
            "sample_shared/one.py": stated,
            f"sample_shared/one_{tied}.py": "",
            "sample_shared/nested/__init__.py": "",
            "sample_shared/nested/one.py": "",
        },
    )
    write_wheel(
        folder,
        "sample-overlap-two",
        version,
        {
            "sample_shared/two.py": stated,
            f"sample_shared/two_{tied}.py": "",
            "sample_shared/nested/two.py": "",
        },
    )


SAMPLE_MAIN = """
def main():
    import sys
    print("console", VERSION, *sys.argv[1:])
    return 3 if "three" in sys.argv else 0
"""


class Wheelhouse:
    """A folder of wheels from the index, with commonwheel's own, built from here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Build and download: the only thing in a test session that needs the index."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        folder = str(self.folder)
        run([*pip, "wheel", "--no-deps", "-w", folder, str(CHECKOUT)])
        for version in PIPS:
            run([*pip, "download", "--no-deps", "-d", folder, f"pip=={version}"])
        for version in interpreters.VERSIONS:
            # of some projects, the newest release does not support the oldest Python
            run(
                [
                    *(*pip, "download", "-d", folder, "--python-version", version),
                    *("--only-binary", ":all:", "--find-links", folder),
                    *("commonwheel", *BACKENDS, *REAL),
                ]
            )

    @property
    def commonwheel(self) -> Path:
        """The wheel of the code under test."""
        return next(self.folder.glob("commonwheel-*.whl"))

    def pip(self, version: str) -> Path:
        """The wheel of a version of pip."""
        return next(self.folder.glob(f"pip-{version}-*.whl"))
