"""What an environment holds, whoever put it there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import default_environment

from commonwheel import installed
from commonwheel.environment import Environment
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.store import Store
from wheel_file import write_wheel


def write_metadata(site: Path, folder: str, *requires: str) -> Path:
    path = site / folder
    path.mkdir()
    name, _, version = folder.removesuffix(".dist-info").partition("-")
    lines = [f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    (path / "METADATA").write_text("\n".join(lines))
    return path


def test_all_kinds_of_metadata_are_seen(environment: Environment, site: Path) -> None:
    write_metadata(site, "One_x-1.0.dist-info")
    write_metadata(site, "~ne_x-1.0.dist-info")  # pip has left it
    (site / "two-2.0-py3.9.egg-info").mkdir()
    (site / "three.egg-link").touch()
    (site / "four").mkdir()
    elsewhere = site.parent / "platlib"
    elsewhere.mkdir()
    write_metadata(elsewhere, "one.x-1.1.dist-info")
    scheme = replace(environment.scheme, platlib=elsewhere)
    found = installed.read(replace(environment, scheme=scheme))
    assert {name: [e.version for e in each] for name, each in found.items()} == {
        "one-x": ["1.0", "1.1"],
        "two": ["2.0"],
        "three": [""],
    }


def test_a_link_is_in_force_if_record_lists_it(
    environment: Environment, site: Path, store: Store, tmp_path: Path
) -> None:
    path = write_wheel(tmp_path, {"sample.py": ""})
    url = {"url": "file:///sample"}
    request = WheelRequest(path, direct_url=json.dumps(url))
    install_wheels([request], environment, store)
    ((found,),) = installed.read(environment).values()
    assert found.link is not None
    assert found.link.name == found.name == "sample"
    assert found.direct_url == url
    (found.metadata / "direct_url.json").write_text("[")
    assert found.direct_url == {}
    (found.metadata / "direct_url.json").unlink()
    assert found.direct_url is None
    record = found.metadata / "RECORD"
    rows = record.read_text().splitlines()
    record.write_text("\n".join(row for row in rows if ".link" not in row))
    assert found.link is None
    (site / "_commonwheel/links/sample.link").write_text("damaged")
    assert found.link is None


@pytest.mark.parametrize("there", [True, False])
def test_what_mends_an_environment(
    environment: Environment, site: Path, there: bool
) -> None:
    environment = replace(environment, markers=default_environment())
    assert installed.needed_to_mend(environment, {"one"}) == {"pip"}
    if there:
        requires = "two", "Three.x; python_version > '3'", "four; python_version < '3'"
        write_metadata(site, "commonwheel-1.dist-info", *requires)
        write_metadata(site, "two-1.dist-info", "commonwheel", "five ; extra == 'x'")
    found = installed.needed_to_mend(environment, {"commonwheel"})
    if there:
        assert found == {"pip", "commonwheel", "two", "three-x"}
    else:  # it is going to be installed
        assert found >= {"pip", "commonwheel"}
