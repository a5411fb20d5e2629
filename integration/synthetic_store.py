"""Large stores made by hand: many entries, and environments that link to them.

``python integration/synthetic_store.py FOLDER`` makes one to measure with: 10,000 entries
and 1,000 environments with 50 to 100 link manifests each.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
from pathlib import Path

from commonwheel import filesystem

FOLDERS = ("environments", "runs", "unused", "trash", "tmp", "locks", "runtime")


def make(root: Path, entries: int = 10_000, environments: int = 1_000) -> Path:
    """Make a store below ``root``, and environments; gives the store.

    One entry in ten is in no environment. What the entries hold is only noted.
    """
    chance = random.Random(0)
    store = root / "store"
    names = [_entry(store, number) for number in range(entries)]
    for folder in FOLDERS:
        (store / folder).mkdir()
    (store / "format").write_text("1\n")
    sizes = [
        f"{name} {chance.randrange(10**7)}/{chance.randrange(500)}" for name in names
    ]
    (store / "sizes").write_text("\n".join(sizes) + "\n")
    used = names[: entries - entries // 10]
    left = iter(used)
    for number in range(environments):
        own = itertools.islice(left, len(used) // environments)
        held = {*own, *chance.sample(used, chance.randrange(40, 91))}
        _environment(root / "environments" / f"{number:04}", store, sorted(held))
    return store


def _entry(store: Path, number: int) -> str:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    name = f"distribution_{number}-1.0-{digest[:8]}"
    (store / "entries" / name / "tree").mkdir(parents=True)
    return name


def _environment(folder: Path, store: Path, held: list[str]) -> None:
    site = folder / "lib/python3.12/site-packages"
    links = site / "_commonwheel/links"
    links.mkdir(parents=True)
    for name in held:
        distribution = name.split("-")[0].replace("_", "-")
        text = (
            f"commonwheel: 1\nname: {distribution}\nversion: 1.0\n"
            f"entry: {store}/entries/{name}\nsha256: {'0' * 64}\n"
            f"metadata: {distribution}-1.0.dist-info\n"
        )
        (links / f"{distribution}.link").write_text(text)
    identifier = hashlib.sha256(str(site).encode()).hexdigest()[:16]
    record = {
        "format": 1,
        "environment": str(folder),
        "sites": [str(site)],
        "filesystem": filesystem.identity(site),
        "since": "2026-01-01T00:00:00Z",
    }
    registry = store / "environments"
    (registry / f"{identifier}.json").write_text(json.dumps(record))
    lines = "".join(f"{name} manifest\n" for name in held)
    (registry / f"{identifier}.entries").write_text(lines)


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
