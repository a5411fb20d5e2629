"""Prints the visiting card of whoever a YAML file describes."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import yaml
from jinja2 import Template


def render(person: dict[str, str]) -> str:
    """The card, as HTML."""
    text = (resources.files(__name__) / "card.html").read_text(encoding="utf-8")
    return Template(text, autoescape=True).render(person)


def main() -> None:
    for name in sys.argv[1:]:
        person = yaml.load(Path(name).read_bytes(), yaml.CSafeLoader)
        print(render(person))
