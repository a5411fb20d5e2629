"""A store entry that is gone: a clear error, and two ways out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import Environment
from wheelhouse import NEWEST_PIP, Sample

NAMES = ("sample-pure", "sample-module", "sample-ns-two", "sample-data")


def _lose(store: Path, name: str) -> Path:
    """Remove the entry of a distribution from a store."""
    (entry,) = (store / "entries").glob(f"{name.replace('-', '_')}-*")
    for folder in (entry, *(path for path in entry.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    shutil.rmtree(entry)
    return entry


@pytest.fixture(params=["23.2", NEWEST_PIP])
def linked(
    request: pytest.FixtureRequest, make: Callable[..., Environment], sample: Sample
) -> Environment:
    environment = make(pip=request.param)
    pins = [f"{name}==1.0" for name in (*NAMES, "sample-ns-one")]
    environment.install(*pins, wheels=sample.folder)
    return environment


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("sample-pure", "sample_pure"),
        ("sample-pure", "sample_pure.inner"),
        ("sample-module", "sample_module"),
        ("sample-ns-two", "sample_space.two"),
        ("sample-ns-two", "sample_space.old_module"),
    ],
)
def test_an_import_says_what_is_missing_and_what_to_do(
    name: str, module: str, linked: Environment
) -> None:
    entry = _lose(linked.store, name)
    answer = linked.run(linked.python, "-c", f"import {module}", check=False)
    assert answer.returncode == 1
    last = answer.stderr.strip().splitlines()[-1]
    assert "MissingEntryError" in last
    assert f"{name} 1.0" in last
    assert str(entry) in last
    assert f"--use-shared-store --force-reinstall --no-deps {name}==1.0" in last
    linked.code("import sample_space.one")


def test_a_script_says_it_too(linked: Environment) -> None:
    entry = _lose(linked.store, "sample-data")
    for script in ("sample-console", "sample-script"):
        answer = linked.run(linked.path / "bin" / script, check=False)
        assert answer.returncode == 1
        assert "MissingEntryError: sample-data 1.0" in answer.stderr
        assert str(entry) in answer.stderr


def test_a_distribution_without_its_entry_can_be_uninstalled(
    linked: Environment, sample: Sample
) -> None:
    for name in NAMES:
        _lose(linked.store, name)
    linked.pip("uninstall", "-y", *NAMES)
    assert not set(NAMES) & set(linked.installed())
    for module in ("sample_pure", "sample_module", "sample_data", "sample_space.two"):
        assert not linked.can_import(module)
    linked.code("import sample_space.one")
    # pip removes only what exists, and a link to nowhere does not
    links = [path for path in linked.site.rglob("*") if path.is_symlink()]
    assert {path.name for path in links if path.exists()} == {"one"}


def test_links_to_nowhere_that_pip_alone_leaves_are_harmless(
    linked: Environment, sample: Sample
) -> None:
    # pip removes only what exists, and a link to nowhere does not
    _lose(linked.store, "sample-pure")
    shutil.rmtree(linked.site / "commonwheel")
    linked.pip("uninstall", "-y", "sample-pure")
    assert "sample-pure" not in linked.installed()
    assert not linked.can_import("sample_pure")
    linked.install("sample-pure==1.0", wheels=sample.folder, linked=False)
    assert linked.can_import("sample_pure")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("whole", [False, True])
def test_the_command_in_the_message_mends_it(
    whole: bool, version: str, linked: Environment, sample: Sample
) -> None:
    for name in NAMES:
        _lose(linked.store, name)
    if whole:
        shutil.rmtree(linked.store)
    pins = [f"{name}=={version}" for name in NAMES]
    options = ("--force-reinstall", "--no-deps")
    linked.install(*options, *pins, wheels=sample.folder)
    code = "import sample_pure.inner.leaf as l, sample_module as m; print(l.VERSION)"
    assert linked.code(code) == version
    script = linked.run(linked.path / "bin/sample-console").stdout
    assert script == f"console {version}\n"
    linked.pip("uninstall", "-y", *NAMES)
    assert not [path for path in linked.tree() if "sample_pure" in path]


def test_reports_still_work(linked: Environment) -> None:
    shutil.rmtree(linked.store)
    assert linked.listed()["sample-pure"] == "1.0"
    assert "sample-pure==1.0" in linked.pip("freeze").stdout
    assert "Version: 1.0" in linked.pip("show", "-f", "sample-pure").stdout
    linked.pip("check")
