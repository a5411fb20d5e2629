"""Folders filled for Pythons on other machines, compared with what pip puts there."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import pytest

from environments import Environment, Templates, run, store_contents
from test_plain_folders import assert_same, look
from wheelhouse import NEWEST_PIP

VERSION = "3.12"
NAMES = ("flask", "numpy", "tqdm")
"""Pure, with scripts and requirements; with libraries; with a requirement on Windows."""
LINUX = "manylinux_2_28_aarch64"
PLATFORMS = {
    LINUX: ("manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "musllinux_1_2_x86_64": ("musllinux_1_1_x86_64",),
    "macosx_14_0_arm64": (),
    "win_amd64": (),
}
"""With the older ones that pip has to be told of."""
SCRIPT_PYTHON = "/opt/python/bin/python3.12"


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One lock for all platforms."""
    folder = tmp_path_factory.mktemp("lock")
    (folder / "wanted.txt").write_text("\n".join(NAMES))
    path = folder / "pylock.toml"
    command = (sys.executable, "-m", "uv", "pip", "compile", "--universal", "--quiet")
    run([*command, "--python-version", VERSION, folder / "wanted.txt", "-o", path])
    return path


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, python: Path
) -> Environment:
    """An environment with commonwheel and pip, which may ask the index."""
    root = tmp_path_factory.mktemp("cross")
    made = templates.make(root / "host", python, NEWEST_PIP, store=root / "store")
    del made.variables["PIP_CONFIG_FILE"]
    made.variables |= {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
    return made


def commonwheel(host: Environment, *arguments: object, **variables: str) -> str:
    program = host.path / "bin/commonwheel"
    return host.run(program, *arguments, variables=variables).stdout


def foreign(name: str, place: Path) -> tuple[str, ...]:
    """What commonwheel is told."""
    which = (f"--python-version={VERSION}", f"--platform={name}", f"--target={place}")
    return (*which, f"--script-python={SCRIPT_PYTHON}")


def of_pip(name: str) -> tuple[str, ...]:
    """What pip is told of the same."""
    platforms = (f"--platform={each}" for each in (name, *PLATFORMS[name]))
    which = (f"--python-version={VERSION}", "--implementation=cp", *platforms)
    return (*which, "--only-binary=:all:", "--no-deps")


def assert_as_pip(ours: Path, pips: Path, name: str) -> None:
    """The same files, but for the scripts, which pip writes for its own Python."""
    wanted, found = look(pips), look(ours)
    scripts = [path for path in wanted if path.startswith("bin/")]
    assert scripts
    for path in scripts:
        their_line, _, their_rest = (pips / path).read_bytes().partition(b"\n")
        assert their_line.startswith(b"#!")
        if name.startswith("win"):
            assert (ours / f"{path}.exe").read_bytes().startswith(b"MZ")
            found[path] = found.pop(f"{path}.exe")
        else:
            line, _, rest = (ours / path).read_bytes().partition(b"\n")
            assert (line.decode(), rest) == (f"#!{SCRIPT_PYTHON}", their_rest)
        wanted[path] = wanted[path]._replace(content="", mode=0)
        found[path] = found[path]._replace(content="", mode=0)
    for path in wanted.keys() & found.keys():
        if path.endswith(("/RECORD", "/INSTALLER")):
            # RECORD: of pip it is that of before the files were moved to the target
            found[path] = found[path]._replace(content=wanted[path].content)
    assert_same(found, wanted)


@pytest.mark.parametrize("name", PLATFORMS)
def test_ask_05_a_lock_fills_a_folder_for_another_platform(
    host: Environment, lock: Path, tmp_path: Path, name: str
) -> None:
    ours, pips = tmp_path / "ours", tmp_path / "pips"
    said = commonwheel(host, "sync", *foreign(name, ours), "--json", lock)
    pins = [
        f"{each['name']}=={each['version']}" for each in json.loads(said)["installed"]
    ]
    is_windows = name.startswith("win")
    assert any(pin.startswith("colorama==") for pin in pins) == is_windows
    host.pip("install", *of_pip(name), "--no-compile", "--target", pips, *pins)
    assert_as_pip(ours, pips, name)
    # what is there, and is in the store, needs no index
    again = ("sync", *foreign(name, ours), "--json", lock)
    said = commonwheel(host, *again, PIP_NO_INDEX="1")
    assert {each["from"] for each in json.loads(said)["installed"]} == {"store"}
    assert_as_pip(ours, pips, name)
    assert not [path for path in store_contents(host.store) if path.endswith(".pyc")]


def test_wheels_fill_a_folder_for_another_platform(
    host: Environment, lock: Path, tmp_path: Path
) -> None:
    ours, pips, wheels = (tmp_path / name for name in ("ours", "pips", "wheels"))
    host.pip("download", *of_pip(LINUX), "--dest", wheels, *NAMES)
    found = sorted(wheels.iterdir())
    commonwheel(host, "install", *foreign(LINUX, ours), *found)
    host.pip("install", *of_pip(LINUX), "--no-compile", "--target", pips, *found)
    # pip says of files where they came from; this is not of an index
    for record in pips.glob("*.dist-info/direct_url.json"):
        record.unlink()
    assert_as_pip(ours, pips, LINUX)
    others = ("--python-version=3.13", f"--platform={LINUX}", f"--target={ours}")
    program = host.path / "bin/commonwheel"
    refused = host.run(program, "install", *others, *found, check=False)
    assert refused.returncode == 1
    assert f"which Python 3.13 on {LINUX} does not support" in refused.stderr


def test_what_was_filled_works_there(
    host: Environment, lock: Path, tmp_path: Path, python: Path
) -> None:
    """There is here, but nothing was asked of it; its scripts find it by its name."""
    place = tmp_path / "place"
    here = f"manylinux_2_28_{platform.machine()}"
    which = (f"--python-version={VERSION}", f"--platform={here}", f"--target={place}")
    commonwheel(host, "sync", *which, lock)
    code = "import flask, numpy; print(numpy.eye(2).sum(), flask.__name__)"
    found = {"PATH": os.pathsep.join((str(python.parent), os.environ["PATH"]))}
    variables = {**os.environ, **found, "PYTHONPATH": str(place)}
    assert run([python, "-c", code], env=variables).stdout == "2.0 flask\n"
    said = run([place / "bin/flask", "--version"], env=variables).stdout
    assert f"Python {VERSION}" in said


def test_a_source_distribution_is_not_built_for_another_platform(
    host: Environment, tmp_path: Path
) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("docopt==0.6.2\n")  # has nothing else
    program = host.path / "bin/commonwheel"
    place = tmp_path / "place"
    done = host.run(program, "sync", *foreign(LINUX, place), lock, check=False)
    assert done.returncode == 1
    assert f"there may be no wheel for Python {VERSION} on {LINUX}" in done.stderr
    assert not place.exists()
