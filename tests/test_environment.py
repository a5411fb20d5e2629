"""Environments: asked of their interpreter, or refused."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import sysconfig
import venv
from dataclasses import asdict
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.tags import sys_tags

from commonwheel import environment
from commonwheel.environment import of_interpreter, of_prefix, of_target
from commonwheel.errors import InvalidEnvironment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment in a folder with a space."""
    path = tmp_path_factory.mktemp("environments") / "a venv"
    venv.create(path, with_pip=False)
    return path


def test_of_this_interpreter() -> None:
    found = of_interpreter(Path(sys.executable))
    paths = sysconfig.get_paths()
    assert str(found.scheme.purelib) == paths["purelib"]
    assert str(found.scheme.platlib) == paths["platlib"]
    assert str(found.scheme.scripts) == paths["scripts"]
    assert str(found.scheme.data) == paths["data"]
    assert found.cache_tag == sys.implementation.cache_tag
    assert found.tags == tuple(map(str, sys_tags()))
    assert found.markers == default_environment()
    assert str(found) == f"{sys.executable} (Python {found.version})"


def test_of_a_virtual_environment(folder: Path) -> None:
    found = of_interpreter(folder)
    assert found.python.parent == found.scheme.scripts == folder / "bin"
    assert found.scheme.data == folder
    version = "python{}.{}".format(*sys.version_info)
    assert found.scheme.headers == folder / "include/site" / version
    (site,) = found.sites
    assert site == folder / "lib" / version / "site-packages"
    assert of_interpreter(folder / "bin/python").scheme == found.scheme


def test_a_target_that_is_site_packages_is_that_environment(
    folder: Path, tmp_path: Path
) -> None:
    found = of_interpreter(folder)
    (site,) = found.sites
    python = Path(sys.executable)
    assert of_target(python, site) == found
    (tmp_path / "link").symlink_to(site)
    assert of_target(python, tmp_path / "link") == found


def test_any_other_target_is_a_plain_folder_for_the_interpreter(
    folder: Path, tmp_path: Path
) -> None:
    found = of_interpreter(folder)
    for target in (found.sites[0].parent, folder, tmp_path, tmp_path / "gone"):
        plain = of_target(folder, target)
        assert plain.plain
        assert plain.python == found.python
        assert plain.sites == (target,)
        assert plain.scheme.data == target
        assert plain.scheme.scripts == target / "bin"


def test_a_prefix_has_the_folders_of_an_environment(folder: Path, tmp_path: Path) -> None:
    found = of_interpreter(folder)
    plain = of_prefix(folder, tmp_path)
    assert plain.plain
    for name, place in asdict(found.scheme).items():
        assert getattr(plain.scheme, name) == tmp_path / place.relative_to(folder)


def test_nothing_of_a_plain_folder_lies_outside_it(tmp_path: Path) -> None:
    """Of a base interpreter neither, whose headers have a folder of their own."""
    python = Path(sys._base_executable)  # type: ignore[attr-defined]
    for plain in (of_target(python, tmp_path), of_prefix(python, tmp_path)):
        for place in asdict(plain.scheme).values():
            assert place.is_relative_to(tmp_path)


def test_what_start_up_files_print_is_not_the_answer(folder: Path) -> None:
    (site,) = of_interpreter(folder).sites
    noise = site / "noise.pth"
    noise.write_text(
        "import atexit; print('{}'); atexit.register(print, '{}', flush=True)"
    )
    try:
        assert of_interpreter(folder).sites == (site,)
    finally:
        noise.unlink()


def test_the_packaging_of_the_environment_is_not_used(folder: Path) -> None:
    (site,) = of_interpreter(folder).sites
    broken = site / "packaging.py"
    broken.write_text("raise Exception('not me')")
    try:
        assert of_interpreter(folder).tags
    finally:
        broken.unlink()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "not a Python interpreter"),
        ("echo '{}'", "not a Python interpreter"),
        ("echo no libpython >&2; exit 4", "its interpreter fails: no libpython"),
        ("printf '\\377' >&2; exit 4", "its interpreter fails"),
        ("exit 4", "exit status 4"),
    ],
)
def test_refuses_what_is_no_interpreter(tmp_path: Path, script: str, reason: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(InvalidEnvironment, match=reason) as caught:
        of_interpreter(python)
    assert caught.value.path == python


def test_refuses_what_does_not_run(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "gone", "does not run .No such file"),
        (tmp_path, "no interpreter"),
        (Path(__file__), "does not run .Permission denied"),
    ):
        with pytest.raises(InvalidEnvironment, match=reason):
            of_interpreter(path)


def patched(tmp_path: Path, patch: str) -> Path:
    """This interpreter with something about it changed."""
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport runpy, sys, sysconfig\n{patch}\n"
        "sys.argv[:2] = []\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    python.chmod(0o755)
    return python


def test_refuses_an_old_python(tmp_path: Path) -> None:
    python = patched(tmp_path, "sys.version_info = (3, 8, 1)")
    with pytest.raises(InvalidEnvironment, match=r"3\.8\.1 is too old"):
        of_interpreter(python)


TOLD = """
[externally-managed]
Error-de=Nein.
Error=To install packages, use
 some-tool, which
 knows 100%% of them.

 See the manual.
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TOLD, " (To install packages, use some-tool, which knows 100%% of them.)"),
        ("[externally-managed]\nError=\x1b[1mNo\x07\n", " ([1mNo)"),
        ("", ""),
        ("[externally-managed]\nError-de=Nein.\n", ""),
        ("[other]\nError=no", ""),
        ("not such a file", ""),
        ("\udcff", ""),
    ],
)
def test_ask_20_an_externally_managed_interpreter_is_left_alone(
    tmp_path: Path, text: str, told: str
) -> None:
    marker = tmp_path / "EXTERNALLY-MANAGED"
    marker.write_text(text, "utf-8", "surrogateescape")
    patch = f"sysconfig.get_path = lambda *_: {str(tmp_path)!r}"
    of_interpreter(patched(tmp_path, f"{patch}; sys.base_prefix = '/'"))  # a venv of it
    python = patched(tmp_path, f"{patch}; sys.base_prefix = sys.prefix")
    with pytest.raises(InvalidEnvironment) as caught:
        of_interpreter(python)
    assert str(caught.value) == (
        f"{python} cannot be used as an environment: it is externally managed{told};"
        " make a virtual environment (`commonwheel venv DIR`), or say"
        " --break-system-packages"
    )
    of_interpreter(python, managed=True)
    # a folder of its own is nobody else's affair
    of_target(python, tmp_path / "target")


def test_the_query_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    query = runpy.run_path(str(environment._QUERY))
    output = subprocess.check_output(
        [sys.executable, "-I", environment._QUERY, environment._PACKAGING], text=True
    )
    assert json.loads(output) == query["describe"](environment._PACKAGING)
