"""Figures: how long `commonwheel run` takes to start a program, and to make what for.

Whole processes are timed, alternating; the first of each is not counted. The wheels are
those of requirements-231.txt, downloaded into the folder that the first argument names
and kept there; without an argument, small ones that are written by hand.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from wheelhouse import write_wheel

REQUIREMENTS = Path(__file__).with_name("requirements-231.txt")
HANDWRITTEN = 200
STARTS = 150
MAKES = 5

Command = Sequence["str | Path"]


def main(wheels: Path | None) -> None:
    commonwheel = Path(sys.executable).with_name("commonwheel")
    with tempfile.TemporaryDirectory() as folder:
        lock = REQUIREMENTS
        if wheels is None:
            wheels = Path(folder, "wheels")
            lock = write_many(wheels, HANDWRITTEN)
        else:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            call([*pip, "-d", wheels, "-r", lock])
        os.environ["COMMONWHEEL_STORE"] = str(Path(folder, "store"))
        os.environ["PIP_FIND_LINKS"] = str(wheels)
        os.environ["PIP_NO_INDEX"] = "1"
        os.environ.pop("VIRTUAL_ENV", None)
        command: list[str | Path] = [commonwheel, "run", "--lock", lock]
        print(f"first run, everything is fetched: {seconds([*command, 'true']):.2f} s")
        made = [
            made_anew(Path(folder, "store"), [*command, "true"]) for _ in range(MAKES)
        ]
        print(f"made from a warm store: {statistics.median(made):.2f} s")
        python = ["python", "-c", "pass"]
        report(*compare([sys.executable, *python[1:]], [*command, *python], STARTS))
        imports = called([*command, "true"], PYTHONPROFILEIMPORTTIME="1")
        ours = [line for line in imports.splitlines() if "commonwheel" in line]
        print(f"imports of a start: {len(imports.splitlines())}, ours: {len(ours)}")


def write_many(folder: Path, number: int) -> Path:
    """Write small wheels, with a script each; returns a lock of them."""
    lines = []
    for each in range(number):
        name = f"many{each}"
        code = f"value = {each}\ndef main():\n    print(value)\n"
        points = f"[console_scripts]\n{name} = {name}:main\n"
        write_wheel(
            folder, name, "1.0", {f"{name}/__init__.py": code}, entry_points=points
        )
        lines.append(f"{name}==1.0\n")
    lock = folder / "requirements.txt"
    lock.write_text("".join(lines))
    return lock


def made_anew(store: Path, command: Command) -> float:
    """How long a run takes whose environment has to be made, with all entries there."""
    for each in (store / "runs").iterdir():
        each.rename(store / "tmp" / f"{each.name}.{time.time_ns()}")
    return seconds(command)


def compare(one: Command, other: Command, times: int) -> tuple[list[float], list[float]]:
    """How long both take, in seconds; they take turns."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(times + 1):
        for command, into in zip((one, other), spent, strict=True):
            into.append(seconds(command))
    return spent[0][1:], spent[1][1:]


def report(plain: Sequence[float], run: Sequence[float]) -> None:
    for name, spent in (("plain interpreter", plain), ("commonwheel run", run)):
        low, middle, high = (f(spent) * 1000 for f in (min, statistics.median, max))
        print(f"{name:>18}: {low:.1f} {middle:.1f} {high:.1f} ms (min, median, max)")
    difference = statistics.median(
        second - first for first, second in zip(plain, run, strict=True)
    )
    print(f"difference, pair by pair: {difference * 1000:+.1f} ms (median)")


def seconds(command: Command) -> float:
    started = time.perf_counter()
    call(command)
    return time.perf_counter() - started


def call(command: Command) -> None:
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def called(command: Command, **variables: str) -> str:
    """What a command says on standard error."""
    environment = os.environ | variables
    return subprocess.run(command, env=environment, stderr=-1, text=True).stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
