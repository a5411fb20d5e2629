"""All ways to start pip know the option."""

from __future__ import annotations

import zipapp
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import Environment
from wheelhouse import NEWEST_PIP, Sample, Wheelhouse

_PROGRAM = """
import sys, pip._internal.operations.install.wheel, pip._internal.req.req_install
from pip._internal.cli.main import main
sys.exit(main())
"""
INVOCATIONS: dict[str, tuple[str, ...]] = {
    "pip": ("{bin}/pip",),
    "pip3": ("{bin}/pip3",),
    "python -m pip": ("{bin}/python", "-m", "pip"),
    "python -I -m pip": ("{bin}/python", "-I", "-m", "pip"),
    "python -sE -m pip": ("{bin}/python", "-sE", "-m", "pip"),
    "python -B -O -m pip": ("{bin}/python", "-B", "-O", "-m", "pip"),
    "python pip.pyz": ("{bin}/python", "{pyz}"),
    "python pip.whl/pip": ("{bin}/python", "{wheel}/pip"),
    "runpy": (
        "{bin}/python",
        "-c",
        "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)",
    ),
    "in a program": (
        "{bin}/python",
        "-c",
        "import sys; from pip._internal.cli.main import main; sys.exit(main())",
    ),
    "in a program that has imported pip's internals": (
        "{bin}/python",
        "-c",
        _PROGRAM,
    ),
}


@pytest.fixture(scope="module")
def pip_archive(wheelhouse: Wheelhouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pip.pyz``: pip as an executable archive."""
    folder = tmp_path_factory.mktemp("pyz")
    with zipfile.ZipFile(wheelhouse.pip(NEWEST_PIP)) as wheel:
        wheel.extractall(folder / "unpacked")
    (folder / "unpacked/__main__.py").write_text(
        "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)\n"
    )
    zipapp.create_archive(folder / "unpacked", folder / "pip.pyz")
    return folder / "pip.pyz"


@pytest.mark.parametrize("invocation", INVOCATIONS)
@pytest.mark.parametrize("pip", ["23.2", NEWEST_PIP])
def test_pip_links_however_it_is_started(
    pip: str,
    invocation: str,
    make: Callable[..., Environment],
    sample: Sample,
    wheelhouse: Wheelhouse,
    pip_archive: Path,
) -> None:
    environment = make(pip=pip)
    before = environment.tree()
    command = [
        part.format(
            bin=environment.path / "bin", pyz=pip_archive, wheel=wheelhouse.pip(pip)
        )
        for part in INVOCATIONS[invocation]
    ]
    offline = ("--no-index", "--find-links", sample.folder)
    environment.run(*command, "install", "--use-shared-store", *offline, "sample-pure")
    assert environment.is_linked("sample-pure")
    assert environment.is_linked("sample-module")
    assert environment.code("import sample_pure as s; print(s.VERSION)") == "2.0"
    environment.run(*command, "uninstall", "-y", "sample-pure", "sample-module")
    assert environment.leftovers(before) == set()
