"""Damaged entries: what is wrong with one, and which wheel it has to be made anew of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from commonwheel import installed, integrity, linkage
from commonwheel.damage import Damage, Fault
from commonwheel.maintenance.mending.plan import Broken
from commonwheel.manifest import Manifest


def damages_of(root: Path, held: Iterable[Manifest]) -> list[Damage]:
    """Everything that is wrong with an entry which these links lead to."""
    damages = integrity.inspect(root)
    if damages:
        damages = linkage.inspect_entry(root)  # is somebody just adding bytecode?
    described = integrity.describe(root)
    for link in held:
        if not damages and described is not None and link.sha256 != described.sha256:
            detail = "environments were given one of another wheel"
            damages = [Damage(root, "entry.json", Fault.CHANGED, detail)]
    return damages


def describe(
    root: Path, damages: Sequence[Damage], held: Sequence[tuple[Path, Manifest]]
) -> Broken:
    """What is known of a damaged entry, and by those who hold it."""
    described = integrity.describe(root)
    said = {link.sha256 for _, link in held if link.entry.name == root.name}
    sha256 = described.sha256 if described is not None else None
    if len(said) == 1:
        sha256 = next(iter(said))  # from outside: it cannot have been damaged with it
    elif said:
        sha256 = None  # whom to believe is not known
    name, version, *_ = (*root.name.split("-"), "")
    origins = (_origin(site / link.metadata) for site, link in held)
    try:
        tags = tuple(sorted(os.listdir(root / "bytecode")))
    except OSError:
        tags = ()
    return Broken(
        root,
        canonicalize_name(name),
        version,
        sha256,
        tuple(damages),
        tuple(dict.fromkeys(url for url in origins if url is not None)),
        tags,
    )


def _origin(dist_info: Path) -> str | None:
    """The wheel that a distribution was installed from, if it was named by a URL."""
    found = installed.Installed("", "", dist_info).direct_url
    url = found.get("url") if found else None
    is_wheel = isinstance(url, str) and urlsplit(url).path.endswith(".whl")
    return url if is_wheel else None
