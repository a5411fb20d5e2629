"""Environments that hold entries of a store, made by hand; and the passing of time."""

from __future__ import annotations

import os
from pathlib import Path

from commonwheel import manifest
from commonwheel.environment import Environment
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.store import Store

HOUR = 3600.0
DAY = 24 * HOUR


def put(store: Store, name: str, content: str = "x") -> str:
    """An entry that there is in ``store`` then, if there is none; gives its name."""
    identifier = f"{name}-1.0-00000000"
    tree = store.folder_of(identifier) / "tree"
    if not tree.exists():
        tree.mkdir(parents=True)
        (tree / f"{name}.py").write_text(content)
        tree.chmod(0o555)
    return identifier


def link(
    store: Store,
    environment: Environment,
    *names: str,
    mode: LinkMode = LinkMode.MANIFEST,
) -> list[str]:
    """Link entries into ``environment`` as an installation does; gives their names."""
    with store.in_use():
        found = [put(store, name) for name in names]
        held = {store.folder_of(identifier): mode for identifier in found}
        store.remember_environment(environment, held)
        for name, entry in zip(names, held, strict=True):
            one = Manifest(name, "1.0", entry, "0" * 64, f"{name}-1.0.dist-info", mode)
            path = environment.sites[0] / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(manifest.encode(one))
    return found


def unlink(environment: Environment, name: str) -> None:
    """Uninstall what :func:`link` has installed."""
    (environment.sites[0] / manifest.path_of(name)).unlink()


def linked(environment: Environment) -> set[str]:
    """The entries that ``environment`` needs."""
    found = manifest.read_all(environment.sites[0])
    return {each.entry.name for each in found.values()}


def is_whole(store: Store, identifier: str) -> bool:
    """Whether an entry that :func:`put` has made is there, with all that it has."""
    tree = store.folder_of(identifier) / "tree"
    return (tree / f"{identifier.split('-', maxsplit=1)[0]}.py").is_file()


def pass_time(store: Store, seconds: float) -> None:
    """What was noted with the time was noted so much earlier."""
    noted = [
        *(store.root / "unused").glob("*"),
        *(store.root / "environments").glob("*.missing"),
        *(store.root / "tmp").glob("*"),
        *store.runs.glob("*/used"),
    ]
    for path in noted:
        before = path.stat()
        os.utime(path, (before.st_atime - seconds, before.st_mtime - seconds))


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """What there is below ``folder``, and whether anything of it was written to."""
    found = (path for path in (folder, *folder.rglob("*")))
    return {str(p): (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in found}
