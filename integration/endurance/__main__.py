"""Run what the product is made to endure, and print the figures as one table.

``PYTHONPATH=integration python -m endurance [--quick] [PART...]`` from the project's
folder, by the superuser, with commonwheel installed in the environment that runs it. The
exit status is 1 if something was not held; what it was has been printed by then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from endurance import crashes, crowd, fuzz, neighbours, power_cuts, refusals
from endurance import room as rooms
from endurance.figures import Figure, table
from endurance.scenes import python_here

_PLACE = re.compile(r"(<!-- endurance -->\n).*?(<!-- /endurance -->)", re.DOTALL)
"""What ``--write`` replaces."""


class Arguments(argparse.Namespace):
    """What was asked for."""

    parts: list[str]
    quick: bool
    results: Path | None
    wheels: list[Path]
    kept: Path | None
    write: Path | None


def main(given: Sequence[str] | None = None) -> int:
    """Run the parts; returns the exit status."""
    parser = _parser()
    asked = parser.parse_args(given, namespace=Arguments())
    unknown = sorted(set(asked.parts) - PARTS.keys())
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    results = _read(asked.results)
    begin = time.monotonic()
    for name in asked.parts or PARTS:
        print(f"endurance: {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="endurance-") as made:
            os.chmod(made, 0o755)  # others are to look into it
            results[name] = list(PARTS[name](asked, Path(made)))
        if asked.results is not None:
            stored = {part: [asdict(f) for f in results[part]] for part in results}
            asked.results.write_text(json.dumps(stored, indent=1), "utf-8")
    figures = [figure for part in PARTS for figure in results.get(part, ())]
    said = table(figures)
    print(said)
    minutes = (time.monotonic() - begin) / 60
    print(f"endurance: {minutes:.0f} minutes", file=sys.stderr)
    if asked.write is not None:
        _write(asked.write, said)
    return int(any(each.failed for each in figures))


def _read(path: Path | None) -> dict[str, list[Figure]]:
    """The figures of parts that were run before."""
    if path is None or not path.exists():
        return {}
    stored = json.loads(path.read_text("utf-8"))
    return {part: [Figure(**each) for each in stored[part]] for part in stored}


def _wheels(asked: Arguments, folder: Path) -> Iterable[Figure]:
    yield from fuzz.fuzz(1_000_000, 60.0 if asked.quick else None)
    if asked.wheels:
        kept = asked.kept or folder / "kept"
        yield from refusals.refusals(asked.wheels, kept)[0]


def _crowds(asked: Arguments, folder: Path) -> Iterable[Figure]:
    yield from crowd.crowd(60.0 if asked.quick else 600.0, folder)


def _crashes(asked: Arguments, folder: Path) -> Iterable[Figure]:
    for nobody in (False, True):
        yield from crashes.crashes(60 if asked.quick else 2000, nobody=nobody)
    yield from crashes.crashes(60 if asked.quick else 500, layered=True)
    yield from crashes.system_calls(20 if asked.quick else 400)


def _power_cuts(asked: Arguments, folder: Path) -> Iterable[Figure]:
    for kind in power_cuts.KINDS:
        yield from power_cuts.power_cuts(kind, 50 if asked.quick else 1000)


def _neighbours(asked: Arguments, folder: Path) -> Iterable[Figure]:
    entries = 1 if asked.quick else 3
    yield from neighbours.neighbours(folder, python_here(), entries=entries)


def _room(asked: Arguments, folder: Path) -> Iterable[Figure]:
    yield from rooms.room(4 if asked.quick else 40)


PARTS: dict[str, Callable[[Arguments, Path], Iterable[Figure]]] = {
    "wheels": _wheels,
    "crowds": _crowds,
    "crashes": _crashes,
    "power-cuts": _power_cuts,
    "neighbours": _neighbours,
    "room": _room,
}


def _write(page: Path, said: str) -> None:
    """Replace what stands between the two marks of a page.

    :raises ValueError: it has no such place, or several
    """
    text, number = _PLACE.subn(
        lambda found: f"{found[1]}{said}\n{found[2]}", page.read_text("utf-8")
    )
    if number != 1:
        raise ValueError(f"{page} has {number} places for the figures")
    page.write_text(text, "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="endurance", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="a few minutes of it")
    parser.add_argument(
        "--wheels",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="real wheels, of which none must be refused wrongly",
    )
    parser.add_argument(
        "--results", type=Path, help="a file of figures, to run part after part"
    )
    parser.add_argument("--kept", type=Path, help="results of --wheels, to go on from")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
