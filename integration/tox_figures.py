"""Figures: `tox -r` of an environment with 30 dependencies: tox, tox-uv, commonwheel.

Run by hand: `python integration/tox_figures.py [ROUNDS]`, with an interpreter that is
Python 3.10 or later; it needs the index. Whole processes are timed, in turn: with
`--notest`, and with a command that imports something (what uv installs is compiled then).
The first round fills the store and the caches of pip and uv, and is not counted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
ROUNDS = 7
WANTED = """
attrs beautifulsoup4 certifi charset-normalizer click cryptography django fastapi flask
httpx idna jinja2 jsonschema markdown-it-py numpy packaging pandas pillow pydantic
pygments pytest pytest-cov python-dateutil pyyaml requests rich six sqlalchemy tqdm
urllib3
"""
HOSTS = {
    "tox": ("tox",),
    "tox-uv": ("tox", "tox-uv"),
    "commonwheel": ("tox", str(CHECKOUT)),
}
CONFIGURATION = """
[testenv]
skip_install = true
deps =
    {deps}
commands = python -c "import django, flask, pandas, sqlalchemy"
"""


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        projects = {name: make(Path(folder), name) for name in HOSTS}
        quiet = quiet_variables(Path(folder))
        for options in (("--notest",), ()):
            spent: dict[str, list[float]] = {name: [] for name in HOSTS}
            for number in range(rounds + 1):
                for name, project in projects.items():
                    host = Path(folder, f"{name}-host")
                    seconds = recreate(host, project, quiet, *options)
                    if number:
                        spent[name].append(seconds)
            what = " ".join(("tox -r", *options))
            print(f"`{what}`, {len(WANTED.split())} dependencies, {rounds} rounds:")
            report(spent)


def report(spent: Mapping[str, list[float]]) -> None:
    for name, seconds in spent.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"  {name:>11}: {low:.2f} {middle:.2f} {high:.2f} s (min, median, max)")
    for name in ("tox", "tox-uv"):
        pairs = zip(spent["commonwheel"], spent[name], strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        print(f"  commonwheel / {name}: {ratio:.2f} (median, round by round)")


def make(folder: Path, name: str) -> Path:
    """A tox with what it needs beside it, and a project that it is run in."""
    host, project = folder / f"{name}-host", folder / name
    subprocess.run([sys.executable, "-m", "venv", host], check=True)
    install = [host / "bin/pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, *HOSTS[name]], check=True)
    project.mkdir()
    text = CONFIGURATION.format(deps="\n    ".join(WANTED.split()))
    if name == "commonwheel":
        text = f"[tox]\nuse_shared_store = true\n{text}"
    (project / "tox.ini").write_text(text)
    return project


def quiet_variables(folder: Path) -> dict[str, str]:
    """Nothing that changes tox, and a store and caches that are empty at first."""
    changing = ("TOX_", "PYTHON", "VIRTUALENV_", "COMMONWHEEL_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(changing)}
    return {
        **kept,
        "COMMONWHEEL_STORE": str(folder / "store"),
        "PIP_CACHE_DIR": str(folder / "pip"),
        "UV_CACHE_DIR": str(folder / "uv"),
    }


def recreate(
    host: Path, project: Path, variables: Mapping[str, str], *options: str
) -> float:
    """How long it takes to remove the environment and make it anew."""
    command = [host / "bin/tox", "run", "-r", "-q", "-e", "py", *options]
    started = time.perf_counter()
    subprocess.run(
        command, cwd=project, env=variables, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
