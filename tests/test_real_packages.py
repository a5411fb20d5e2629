"""The packages that do not work as links are real files without being asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from commonwheel import manifest
from commonwheel.environment import Environment
from commonwheel.install import WheelRequest, install_wheels, of_entry
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.real_packages import REASONS
from commonwheel.store import Store
from entries import make_entry
from wheel_file import write_wheel


def test_each_is_installed_as_real_files_and_it_is_said_why(
    environment: Environment, site: Path, store: Store, tmp_path: Path
) -> None:
    modules = {name: name.replace("-", "_") for name in (*REASONS, "other")}
    wheels = [
        write_wheel(tmp_path, {f"{module}/__init__.py": ""}, module)
        for module in modules.values()
    ]
    done = install_wheels([WheelRequest(wheel) for wheel in wheels], environment, store)
    assert sorted(done.remarks()) == sorted(
        f"{name} is installed as real files: {reason}" for name, reason in REASONS.items()
    )
    linked = {name for name, mode in done.modes.items() if mode is LinkMode.MANIFEST}
    assert linked == {"other"}
    for name, module in modules.items():
        assert (site / module).is_dir() == (name in REASONS)
        assert (site / manifest.VIEW / module).is_symlink() == (name not in REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_a_reason_ends_with_the_version_that_was_looked_at(name: str) -> None:
    reason, _, seen = REASONS[name].rpartition(" (")
    assert name == canonicalize_name(name)
    assert reason.startswith(("it ", "its "))
    package, version = seen.removesuffix(")").split(" ")
    assert package == name
    assert str(Version(version)) == version


@pytest.mark.parametrize("mode", [LinkMode.REFLINK, LinkMode.COPY])
def test_a_mode_of_real_files_that_was_chosen_needs_no_reason(
    tmp_path: Path, mode: LinkMode
) -> None:
    entry = make_entry(tmp_path, next(iter(REASONS)), {"one.py": ""})
    request = of_entry(entry, LinkChoice(mode))
    assert (request.mode, request.reason) == (mode, "")
