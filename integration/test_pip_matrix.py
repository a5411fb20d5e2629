"""Every pip on every Python that it runs on: from the first install to nothing left."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import interpreters
from environments import Environment, Templates, assert_untouched, store_contents
from wheelhouse import NEWEST_PIP, PIPS, Sample, Wheelhouse

SUPPORTED = {
    "22.3": ("3.10", "3.11"),
    "23.2": ("3.10", "3.11", "3.12"),
    "24.0": ("3.10", "3.11", "3.12"),
    "24.3": ("3.10", "3.11", "3.12", "3.13"),
    "25.3": ("3.10", "3.11", "3.12", "3.13"),
    "26.3": ("3.10", "3.11", "3.12", "3.13"),
}
"""pip 22.3 imports what Python 3.12 has removed; 3.13 came after 23.2 and 24.0."""

CELLS = [(pip, version) for pip in PIPS for version in SUPPORTED[pip]]
VIRTUALENV_CELLS = [(pip, "3.11") for pip in PIPS] + [
    (NEWEST_PIP, version) for version in SUPPORTED[NEWEST_PIP] if version != "3.11"
]


@pytest.mark.parametrize(("pip", "version"), CELLS)
def test_linked_distributions_live_as_installed_ones_do_in_a_venv(
    pip: str,
    version: str,
    tmp_path: Path,
    templates: Templates,
    samples: Callable[[Path], Sample],
) -> None:
    python = interpreters.require(version)
    environment = templates.make(tmp_path / "environment", python, pip)
    _lead_a_life(environment, samples(python), pip)


@pytest.mark.parametrize(("pip", "version"), VIRTUALENV_CELLS)
def test_linked_distributions_live_as_installed_ones_do_in_a_virtualenv(
    pip: str,
    version: str,
    tmp_path: Path,
    wheelhouse: Wheelhouse,
    samples: Callable[[Path], Sample],
) -> None:
    python = interpreters.require(version)
    environment = Environment(tmp_path / "environment", tmp_path / "store")
    environment.run(
        *(sys.executable, "-m", "virtualenv", "--python", python, "--pip", pip),
        *("--extra-search-dir", wheelhouse.folder, "--no-download"),
        *("--no-periodic-update", "--app-data", tmp_path / "app-data"),
        environment.path,
    )
    environment.install(
        "commonwheel", "--no-compile", wheels=wheelhouse.folder, linked=False
    )
    assert environment.listed()["pip"].startswith(pip)
    _lead_a_life(environment, samples(python), pip)


def _lead_a_life(environment: Environment, sample: Sample, pip: str) -> None:
    before = environment.tree()
    others = environment.listed()

    environment.install(*(f"{name}==1.0" for name in sample.names), wheels=sample.folder)
    assert all(environment.is_linked(name) for name in sample.names)
    _check_imports(environment, sample, "1.0")
    _check_scripts(environment, "1.0")
    _check_reports(environment, sample, pip)
    stored = store_contents(environment.store)

    environment.install("--upgrade", *sample.names, wheels=sample.folder)
    _check_imports(environment, sample, "2.0")
    _check_scripts(environment, "2.0")
    assert environment.installed() == {**others, **dict.fromkeys(sample.names, "2.0")}
    old = [path for path in environment.tree() if "old" in path.rpartition("/")[2]]
    assert [path for path in old if path not in before] == []

    # without its help: what it has linked must not depend on commonwheel
    environment.remove_commonwheel()
    environment.pip("uninstall", "-y", *sample.names)
    assert environment.leftovers(before) == set()
    del others["commonwheel"]
    assert environment.installed() == others
    assert_untouched(environment.store, stored)
    shutil.rmtree(environment.path)


def _check_imports(environment: Environment, sample: Sample, version: str) -> None:
    assert environment.json(sample.imports) == [version] * len(sample.names)


def _check_scripts(environment: Environment, version: str) -> None:
    folder = environment.path / "bin"
    answer = environment.run(folder / "sample-console", "three", check=False)
    assert (answer.returncode, answer.stdout) == (3, f"console {version} three\n")
    answer = environment.run(folder / "sample-script")
    assert answer.stdout == f"script {version}\n"


def _check_reports(environment: Environment, sample: Sample, pip: str) -> None:
    shown = environment.pip("show", "-f", "sample-pure").stdout
    assert "Version: 1.0" in shown
    assert "sample_pure/inner/leaf.py" in shown
    assert "Requires: sample-module" in shown
    frozen = environment.pip("freeze").stdout.splitlines()
    assert {f"{name}==1.0" for name in sample.names} <= set(frozen)
    assert "No broken requirements" in environment.pip("check").stdout
    report = json.loads(environment.pip("inspect").stdout)
    installers = {
        each["metadata"]["name"]: (each["installer"], each["requested"])
        for each in report["installed"]
    }
    assert {installers[name] for name in sample.names} == {("commonwheel", True)}
