"""Real wheels that are refused: each is a harm done, unless there is a reason for it.

Wheels are read where they lie; ``--fetch`` lets pip fill a folder with the newest one
for this Python of each of the most downloaded projects. What became of each is in a file
of results, so that a run can be stopped and gone on with.
``python -m endurance.refusals --wheels FOLDER --kept FILE`` prints each refusal with its
rule, and the most that a wheel took of each limit.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

import commonwheel
from commonwheel import unpack, wheel
from commonwheel.errors import InvalidWheel
from commonwheel.limits import Limits
from endurance.figures import Figure

_LISTED = Path(__file__).parents[1] / "top-packages.csv"
_READER = (
    *("wheel.py", "wheel_metadata.py", "wheel_rules.py", "limits.py", "unpack.py"),
    *("zip_archive.py", "zip_data.py", "zip_end.py", "member_names.py"),
    *("entry_points.py", "record.py", "tree.py"),
)
EXPLAINED: dict[str, str] = {}
"""Wheel files that are refused rightly: why, and what others do with them."""


@dataclass(frozen=True)
class Reading:
    """What became of one wheel."""

    name: str
    """Of the file."""
    refusal: str | None
    """In our words, if it was refused."""
    rule: str | None
    remarks: tuple[str, ...] = ()
    members: int = 0
    size: int = 0
    ratio: float = 0.0
    path: int = 0
    metadata: int = 0


def refusals(
    folders: Iterable[Path], kept: Path, processes: int | None = None
) -> tuple[list[Figure], list[Reading]]:
    """Read and unpack all wheels in ``folders``; ``kept`` is where the results are."""
    known = dict(_known(kept))
    wheels = sorted(
        {path.name: path for f in folders for path in f.glob("*.whl")}.items()
    )
    work = [path for _, path in wheels]
    found: list[Reading] = []
    workers = processes or os.cpu_count() or 1
    with (
        kept.open("a", encoding="utf-8") as file,
        concurrent.futures.ProcessPoolExecutor(workers) as pool,
    ):
        for key, reading in pool.map(functools.partial(_read, known), work):
            if key not in known:
                file.write(json.dumps({"key": key, **asdict(reading)}) + "\n")
                file.flush()
            found.append(reading)
    refused = [each for each in found if each.refusal is not None]
    false = [each for each in refused if each.name not in EXPLAINED]
    projects = {canonicalize_name(each.name.split("-")[0]) for each in found}
    listed = set(_listed())
    note = (
        f"{len(refused)} refused, {len(refused) - len(false)} of them rightly; of"
        f" {len(projects):,} projects, {len(projects & listed):,} among the"
        f" {len(listed):,} most downloaded"
    )
    return [Figure("wheels", "real wheels, read", len(found), len(false), note)], found


def fetch(folder: Path, processes: int) -> dict[str, str]:
    """Let pip fetch the newest wheel of each project; returns why it could not, by name.

    Most of those have no wheel for this Python and platform.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {canonicalize_name(each.name.split("-")[0]) for each in folder.glob("*.whl")}
    wanted = [name for name in _listed() if name not in there]
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        said = pool.map(functools.partial(_fetch, folder), wanted)
        return {name: reason for name, reason in zip(wanted, said, strict=True) if reason}


def _fetch(folder: Path, name: str) -> str:
    """Let pip fetch one; returns why it could not."""
    options = ("--no-deps", "--only-binary", ":all:", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "download", "-q", *options, "-d", str(folder)]
    done = subprocess.run([*command, name], capture_output=True, text=True)
    lines = done.stderr.strip().splitlines() or ["?"]
    return "" if done.returncode == 0 else lines[-1]


def _listed() -> Iterator[str]:
    """The most downloaded projects."""
    with _LISTED.open(encoding="utf-8") as stream:
        for row in csv.DictReader(line for line in stream if not line.startswith("#")):
            yield canonicalize_name(row["project"])


def _known(kept: Path) -> Iterator[tuple[str, Reading]]:
    """What is in the file of results."""
    if kept.exists():
        for line in kept.read_text("utf-8").splitlines():
            values = json.loads(line)
            key = values.pop("key")
            values["remarks"] = tuple(values["remarks"])
            yield key, Reading(**values)


@functools.cache
def _reader() -> str:
    """Says whether the code that reads wheels is the same as when a result was kept."""
    folder = Path(commonwheel.__file__).parent
    content = b"".join((folder / name).read_bytes() for name in _READER)
    return hashlib.sha256(content).hexdigest()[:16]


def _read(known: dict[str, Reading], path: Path) -> tuple[str, Reading]:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    key = f"{path.name} {digest.hexdigest()} {_reader()}"
    if key in known:
        return key, known[key]
    folder = Path(tempfile.mkdtemp(prefix="refusals-"))
    try:
        read = wheel.read(path)
        unpack.extract(read, folder / "unpacked")
    except InvalidWheel as error:
        return key, Reading(path.name, error.reason, error.rule.value)
    finally:
        shutil.rmtree(folder)
    sizes = [member.size for member in read.members]
    own = [m.size for m in read.members if m.area is wheel.Area.METADATA]
    return key, Reading(
        path.name,
        None,
        None,
        read.remarks,
        members=len(sizes),
        size=sum(sizes),
        ratio=sum(sizes) / path.stat().st_size,
        path=max(len(member.name.encode()) for member in read.members),
        metadata=max(own),
    )


def _most(found: Iterable[Reading]) -> Iterator[str]:
    """How near a wheel came to each limit."""
    for name, limit in asdict(Limits()).items():
        first = max(found, key=lambda each: getattr(each, name))
        value = getattr(first, name)
        yield f"{name}: at most {value:,.1f} of {limit:,} ({first.name})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was refused; 1 if something was that nobody has explained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheels", type=Path, action="append", required=True)
    parser.add_argument("--kept", type=Path, required=True, help="file of results")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--fetch", action="store_true", help="into the first folder")
    asked = parser.parse_args(arguments)
    if asked.fetch:
        missing = fetch(asked.wheels[0], asked.processes or os.cpu_count() or 1)
        for name, reason in missing.items():
            print(f"{name} has none: {reason}")
    figures, found = refusals(asked.wheels, asked.kept, asked.processes)
    for each in found:
        if each.refusal is not None:
            why = EXPLAINED.get(each.name, "NOT EXPLAINED")
            print(f"{each.name} [{each.rule}]: {each.refusal}; {why}")
        for remark in each.remarks:
            print(f"{each.name} is accepted: {remark}")
    for line in _most(found):
        print(line)
    for rule, number in Counter(each.rule for each in found if each.rule).most_common():
        print(f"{rule}: {number}")
    for figure in figures:
        print(f"{figure.what}: {figure.tried:,} tried, {figure.failed:,}; {figure.note}")
    return int(any(each.failed for each in figures))


if __name__ == "__main__":
    sys.exit(main())
