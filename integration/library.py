"""Wheels that tools are shown: the ways in which a distribution lies in an environment.

``shelf`` is a typed package; ``shelf-extra`` adds a module to it, and both have a part in
the namespace package ``shelf_space``. ``shelf-plugin`` is a plugin of pytest.
``shelf-late`` has part in all of them and comes when they are in use already.
"""

from __future__ import annotations

from pathlib import Path

from wheelhouse import write_wheel

_SHELF = '''\
"""Books on a shelf."""

from collections.abc import Callable


def count(books: list[str]) -> int:
    """How many ``books`` there are."""
    number = len(books)
    return number


def call(function: Callable[[], str]) -> str:
    """What ``function`` returns."""
    returned = function()
    return returned


class Shelf:
    """A place for books."""

    def add(self, title: str) -> "Shelf":
        """Put a book there."""
        return self
'''
_TESTS = """\
from shelf import count


def test_an_empty_shelf():
    assert count([]) == 0
"""
_CHECKS = """\
import pytest


def assert_sorted(books):
    __tracebackhide__ = False
    assert books == sorted(books)


@pytest.fixture
def books():
    return ["Emma", "Dracula"]
"""


def write_library(folder: Path) -> None:
    """Write the wheels into ``folder``."""
    write_wheel(
        folder,
        "shelf",
        "1.0",
        {
            "shelf/__init__.py": _SHELF,
            "shelf/py.typed": "",
            "shelf/wrong.py": 'number: int = "no number"  # of no concern to its users\n',
            "shelf/data/titles.txt": "Emma\n",
            "shelf/tests/__init__.py": "",
            "shelf/tests/test_shelf.py": _TESTS,
            "shelf_space/one.py": "ONE = 1\n",
            "shelf_space/data/one.txt": "one",
        },
    )
    write_wheel(
        folder,
        "shelf-extra",
        "1.0",
        {
            "shelf/extra.py": 'def more() -> str:\n    return "more"\n',
            "shelf_space/two/__init__.py": "TWO = 2\n",
            "shelf_space/data/two.txt": "two",
        },
        requires=("shelf",),
    )
    write_wheel(
        folder,
        "shelf-plugin",
        "1.0",
        {"shelf_plugin/__init__.py": "", "shelf_plugin/checks.py": _CHECKS},
        entry_points="[pytest11]\nshelf = shelf_plugin.checks\n",
    )
    write_wheel(
        folder,
        "shelf-late",
        "1.0",
        {
            "shelf_late.py": "LATE = True\n",
            "shelf/late.py": "LATE = True\n",
            "shelf_space/late.py": "LATE = True\n",
        },
    )
