"""The tree of a wheel: what belongs in site-packages, and how it can be put there.

Pure functions of the paths of its files, relative to the tree, with ``/``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from commonwheel import member_names

_START_UP = (".pth", ".start")
"""Files that :mod:`site` reads in site-packages itself (:pep:`829` for the second)."""
_CUSTOMIZE = frozenset({"sitecustomize", "usercustomize"})
"""Modules that :mod:`site` imports at start-up, maybe before the runtime is there."""

_EGGS = (".egg-info", ".egg-link", ".egg")
_MODULES = (".py", ".pyc", ".so", ".pyd")

MARKER = ".commonwheel"
"""How the names of markers end in the view, ``.NAME.commonwheel``."""
KEPT = ".kept"
"""How the names of links end that wait for their place in it, ``.NAME.FILE.kept``."""
_OURS = re.compile(
    rf"(00)?_commonwheel|(.*/)?\.([^/]*\.)?({MARKER[1:]}|{KEPT[1:]})(/|$)", re.DOTALL
)


def must_be_real(path: str) -> bool:
    """Whether a file works only as a real file in site-packages."""
    top, _, below = path.partition("/")
    return is_customization(path) or (not below and top.endswith(_START_UP))


def is_customization(path: str) -> bool:
    """Whether a file is of a module that :mod:`site` imports whenever Python starts."""
    return path.partition("/")[0].partition(".")[0] in _CUSTOMIZE


def is_ours(path: str) -> bool:
    """Whether a file has a name, on some filesystem, that commonwheel keeps for itself.

    They are in site-packages (the runtime, and what goes with it), and in the view.
    """
    return _OURS.match(member_names.fold(path)) is not None


def egg(path: str) -> str | None:
    """The name, right in site-packages, of the egg that a file is, or is a part of.

    :mod:`importlib.metadata` and pip take it for a distribution of its own, see
    https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html. pip uninstalls what
    its ``installed-files.txt`` or ``top_level.txt`` names, and of a name that is in a
    folder which is a link into a store, it would remove the store's own file.
    """
    top = path.partition("/")[0]
    return top if top.lower().endswith(_EGGS) else None


def sources(paths: Iterable[str]) -> list[str]:
    """The Python source files."""
    return sorted(path for path in paths if path.endswith(".py"))


def is_bytecode(path: str) -> bool:
    """Whether a file is of use to one Python only, and made anew for each."""
    folder, _, name = path.rpartition("/")
    return f"/{folder}".endswith("/__pycache__") and name.endswith(".pyc")


def top_level_names(paths: Iterable[str]) -> list[str]:
    """The importable names.

    By the rule of ``importlib.metadata.packages_distributions`` for distributions
    without ``top_level.txt``.
    """
    names: set[str] = set()
    for path in paths:
        top, _, below = path.partition("/")
        if below or top.endswith(_MODULES):
            # extension modules of whatever Python and platform, not of this one
            names.add(top if below else top.partition(".")[0])
    return sorted(name for name in names if "." not in name)


def folders(paths: Iterable[str]) -> set[str]:
    """Every folder that the files lie in."""
    return set(member_names.folders(paths))


def links(paths: Iterable[str], opened: Iterable[str] = ()) -> tuple[str, ...]:
    """The links that show the files in an environment; folders end with ``/``.

    A link stands for as much as possible: for a folder with all that is in it. Only a
    folder that holds nothing but folders is a namespace (:pep:`420`) that other
    distributions are expected in, so what it holds is linked instead. So is what the
    folders ``opened`` hold, and those above them: they have to be real folders.
    """
    real = folders(f"{folder}/" for folder in opened)
    files: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        files[path.rpartition("/")[0]].append(path)
    subfolders: dict[str, list[str]] = defaultdict(list)
    for folder in folders(f"{folder}/" for folder in files):
        subfolders[folder.rpartition("/")[0]].append(folder)
    found: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        if folder and folder in files and folder not in real:
            found.append(f"{folder}/")
            continue
        found.extend(files.get(folder, ()))
        pending.extend(subfolders.get(folder, ()))
    return tuple(sorted(found))
