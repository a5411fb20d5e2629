import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path

import markupsafe._speedups
import visiting_card
import yaml

ADA = Path(__file__).with_name("ada.yaml")
CARD = "<p><b>Ada &amp; co.</b>, mathematician</p>\n"


def test_card() -> None:
    person = {"name": "Ada & co.", "profession": "mathematician"}
    assert f"{visiting_card.render(person)}\n" == CARD


def test_command() -> None:
    command = Path(sysconfig.get_path("scripts"), "visiting-card")
    assert subprocess.check_output([command, ADA], text=True) == CARD


def test_entry_points_of_requirements() -> None:
    points = metadata.entry_points(group="babel.extractors")
    assert points["jinja2"].load().__name__ == "babel_extract"


def test_metadata_of_requirements() -> None:
    assert metadata.version("pyyaml") == yaml.__version__
    assert metadata.packages_distributions()["_yaml"] == ["PyYAML"]


def test_extension_modules_of_requirements() -> None:
    assert yaml.__with_libyaml__
    assert markupsafe._speedups.__file__.endswith((".so", ".pyd"))
