"""Figures: linking 231 distributions, against uv; starting an interpreter, linked or not.

Run by `tox -e figures`. Whole processes are timed, alternating, each install into a fresh
environment; the first of each is not counted. Wheels are downloaded into the folder that
the first argument names, and kept there.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements-231.txt")
INSTALLS = 7
STARTS = 150

Command = Sequence["str | Path"]


def main(wheels: Path) -> None:
    python = Path(sys.executable)
    download = [python, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels]
    call([*download, "-r", REQUIREMENTS])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COMMONWHEEL_STORE"] = str(Path(folder, "store"))
        empty = Path(folder, "empty")
        call([python, "-m", "venv", "--without-pip", empty])
        linked, copied = Path(folder, "linked"), Path(folder, "copied")
        ours = [python.with_name("commonwheel"), "install", "--python", linked]
        ours += sorted(wheels.glob("*.whl"))
        uv = [python.with_name("uv"), "pip", "sync", "-q", "--offline", "--no-index"]
        uv += ["--find-links", wheels, "--link-mode", "hardlink", "--no-config"]
        uv += ["--cache-dir", Path(folder, "uv"), "--python", copied, REQUIREMENTS]
        print(f"{len(ours) - 4} distributions, warm, whole process:")
        compare((lambda: renew(linked, empty), ours), (lambda: renew(copied, empty), uv))
        print("interpreter start, `python -c pass`:")
        starts = [[env / "bin/python", "-c", "pass"] for env in (linked, copied)]
        compare(*((lambda: None, start) for start in starts), times=STARTS)
        print("inodes that are not the store's or uv's cache's, and links to them:")
        for name, env in (("linked", linked), ("uv", copied)):
            own, shared = inodes(env)
            print(f"  {name:>6}: {own:>7,} own, {shared:>7,} hard links")


def compare(ours: tuple, theirs: tuple, times: int = INSTALLS) -> None:  # type: ignore[type-arg]
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(times + 1):
        for (prepare, command), seconds in zip((ours, theirs), spent, strict=True):
            prepare()
            started = time.perf_counter()
            call(command)
            seconds.append(time.perf_counter() - started)
    pairs = list(zip(*(seconds[1:] for seconds in spent), strict=True))
    for name, seconds in zip(("linked", "uv"), zip(*pairs, strict=True), strict=True):
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"  {name:>6}: {low:.4f} {middle:.4f} {high:.4f} s (min, median, max)")
    ratio = statistics.median(one / other for one, other in pairs)
    difference = statistics.median(one - other for one, other in pairs) * 1000
    print(f"  pair by pair: ratio {ratio:.2f}, difference {difference:+.2f} ms (medians)")


def renew(environment: Path, empty: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    shutil.copytree(empty, environment, symlinks=True)


def inodes(folder: Path) -> tuple[int, int]:
    found = [path.lstat().st_nlink for path in folder.rglob("*") if not path.is_dir()]
    folders = sum(path.is_dir() and not path.is_symlink() for path in folder.rglob("*"))
    return folders + found.count(1), len(found) - found.count(1)


def call(command: Command) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
