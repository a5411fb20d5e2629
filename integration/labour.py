"""A distribution whose code runs in processes that other programs start.

``labour-two`` has part in its namespace package ``labour_space``.
"""

from __future__ import annotations

from pathlib import Path

from environments import Environment, run
from pairs import Pair, Pairs
from wheelhouse import write_wheel

PROBES = Path(__file__).with_name("probes")
"""Programs that tests run in environments; each prints JSON."""

WORK = """
class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


def double(number):
    return 2 * number


def move(point):
    return Point(point.x + 1, point.y)


def where(_=None):
    return __file__


def send(queue, number):
    queue.put([double(number), __name__, __file__])
"""
TASKS = """
from celery import shared_task


@shared_task
def triple(number):
    return 3 * number
"""
MAIN = """
import sys

import labour

print("labour", labour.VERSION, *sys.argv[1:])
"""


def write_wheels(folder: Path, version: str = "1.0") -> list[Path]:
    """Write the wheels of both distributions."""
    stated = f"VERSION = {version!r}\n"
    return [
        write_wheel(
            folder,
            "labour",
            version,
            {
                "labour/__init__.py": stated,
                "labour/__main__.py": MAIN,
                "labour/work.py": WORK,
                "labour/tasks.py": TASKS,
                "labour/data.txt": f"data of {version}\n",
                "labour/locale/de/LC_MESSAGES/django.mo": "",
                "labour/templates/labour/page.html": version,
                "labour_space/one/__init__.py": stated,
                "labour_module.py": stated,
            },
            entry_points="[labour]\ndouble = labour.work:double\n",
        ),
        write_wheel(
            folder, "labour-two", version, {"labour_space/two/__init__.py": stated}
        ),
    ]


def make_pair(pairs: Pairs, root: Path, python: Path) -> Pair:
    """A pair of environments of any Python that hold both distributions."""
    wheels = write_wheels(root / "wheels")
    environments = []
    for name in ("plain", "linked"):
        path = root / name / "environment"
        run([python, "-m", "venv", "--without-pip", path])
        environments.append(Environment(path, root / "store"))
    fill(pairs, Pair(*environments, root / "wheels", {}), *wheels)
    return Pair(*environments, root / "wheels", {})


def fill(pairs: Pairs, pair: Pair, *wheels: Path) -> None:
    """Install wheels into both environments of a pair, each in its way."""
    pairs.copy_into(pair.plain, *wheels)
    pairs.link_into(pair.linked, *wheels)
