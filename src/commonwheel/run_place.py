"""Where the environment is that programs of a lock run in, and whether it can be used.

::

    STORE/runs/KEY/        a virtual environment, with links as in any other, and
      used                 touched at each use: what has not been used for long goes
      ready                what exactly it is for; written last, so it is complete
      entries              the folders of its entries, a line each
      contents.json        its site-packages and distributions, for activation

This is all that starting a program takes when everything is there, and nothing else is
imported for it: a lock's bytes are compared, not parsed or hashed, and what must not have
changed (the entries, the interpreter) is only asked for. The standard library's modules
for paths, hashes or options would each take longer than all of this.
"""

from __future__ import annotations

import _imp
import os
import sys

TYPE_CHECKING = False  # known to type checkers; `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PROTOCOL = 1
"""Of this layout and of what is in :func:`identity`."""
RUNS = "runs"
"""The folder of a store; that is its own affair, see :mod:`commonwheel.store`."""
USED = "used"
READY = "ready"
ENTRIES = "entries"
CONTENTS = "contents.json"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
_PROGRAMS = ("bin/python", "Scripts/python.exe", "bin/python3")
_MARKER = b"# /// script"
"""Begins the metadata of a script (:pep:`723`)."""


def identity(
    lock: bytes,
    python: str,
    *,
    extras: Iterable[str] = (),
    groups: Iterable[str] = (),
    header: bytes = b"",
    links: Iterable[str] = (),
    folder: str = "",
) -> bytes:
    """What a run environment is for: whoever asks for the same is given the same one.

    ``lock`` are the contents of the lock, ``python`` the interpreter, ``header`` the
    metadata of a script (:func:`header_of`), ``links`` the settings of how distributions
    get into it, ``folder`` that of a lock that does not stand for itself.

    :raises OSError: there is no such interpreter
    """
    program = os.path.realpath(python)
    status = os.stat(program)
    told = (
        _PROTOCOL,
        (program, status.st_size, status.st_mtime_ns),
        sorted(set(extras)),
        sorted(set(groups)),
        header,
        tuple(links),
        folder,
    )
    return ascii(told).encode("ascii") + b"\n" + lock


def key(wanted: bytes) -> str:
    """The name of the folder for what :func:`identity` says.

    It need not be unique: what is in the folder is compared.
    """
    return _imp.source_hash(0, wanted).hex()  # siphash: `hashlib` takes 2 ms to import


def find(stores: Iterable[str], wanted: bytes) -> str | None:
    """The folder of the run environment for ``wanted``, if one of the stores has it.

    It counts as used; in a store that cannot be written it is never collected either.
    """
    name = key(wanted)
    for store in stores:
        if _is_open(store):
            continue  # opening it says what is wrong
        folder = os.path.join(store, RUNS, name)
        if _touch(os.path.join(folder, USED)) and is_ready(folder, wanted):
            return folder
    return None


def _is_open(store: str) -> bool:
    """Whether somebody could have put something in a store who should not.

    :mod:`commonwheel.custody` looks at more than that, and takes longer to import.
    """
    try:
        mode = os.stat(store).st_mode
    except OSError:
        return True
    return bool(mode & 0o002 or (mode & 0o020 and mode & 0o3000 != 0o3000))


def is_ready(folder: str, wanted: bytes) -> bool:
    """Whether a folder has the run environment for ``wanted``, with all its entries."""
    try:
        if _read(os.path.join(folder, READY)) != wanted:
            return False
        for entry in _read(os.path.join(folder, ENTRIES)).splitlines():
            os.stat(entry)
        os.stat(python_of(folder))
    except OSError:
        return False
    return True


def python_of(folder: str) -> str:
    """The interpreter of a run environment."""
    return os.path.join(folder, SCRIPTS, "python.exe" if os.name == "nt" else "python")


def stores(given: str | None, variables: Mapping[str, str]) -> list[str]:
    """The folders of the stores to look into; none where only a library can tell.

    The rest of the program asks :func:`commonwheel.frontends.settings.open_store`, and
    tests hold the two together: the library that it asks takes 15 ms to import.
    """
    chosen = given or variables.get("COMMONWHEEL_STORE", "")
    found = [each for each in chosen.split(os.pathsep) if each]
    if not found and sys.platform == "linux":
        # https://specifications.freedesktop.org/basedir-spec/latest/
        data = variables.get("XDG_DATA_HOME", "").strip() or "~/.local/share"
        found = [os.path.join(data, "commonwheel", "store")]
    return [os.path.abspath(os.path.expanduser(each)) for each in found]


def links(variables: Mapping[str, str]) -> list[str]:
    """The settings that decide how distributions get into a run environment.

    What they say is the affair of :func:`commonwheel.frontends.settings.link_choice`.
    """
    return [variables.get(f"COMMONWHEEL_{each}", "") for each in ("LINK_MODE", "REAL")]


def interpreter(given: str | None, variables: Mapping[str, str]) -> str | None:
    """The program that ``given`` names; else the active environment's, else our own.

    ``given`` is a path, the folder of an environment, a version such as ``3.12``, or a
    name to be looked for on ``PATH``. None if there is none.
    """
    chosen = given or variables.get("VIRTUAL_ENV") or sys.executable
    if not chosen:
        return None
    if os.path.isdir(chosen):
        candidates = [os.path.join(chosen, *each.split("/")) for each in _PROGRAMS]
    elif os.path.dirname(chosen):
        candidates = [chosen]
    else:
        folders = variables.get("PATH", os.defpath).split(os.pathsep)
        names = (chosen, f"python{chosen}")
        candidates = [os.path.join(folder, n) for n in names for folder in folders]
    return next((each for each in candidates if os.access(each, os.X_OK)), None)


def is_wrapper(program: str) -> bool:
    """Whether an interpreter is a script that starts one, which may differ each time."""
    try:
        with open(program, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def header_of(script: str) -> bytes:
    """The lines that may be the metadata of a script (:pep:`723`).

    :raises OSError: it cannot be read
    """
    content = _read(script)
    lines: list[bytes] = []
    inside = False
    for line in content.splitlines() if _MARKER in content else ():
        inside = line.startswith(b"#") and (inside or line == _MARKER)
        if inside:
            lines.append(line)
    return b"\n".join(lines)


def lock_beside(script: str) -> str | None:
    """The lock of a script: the first of :func:`locks_of` that is there."""
    return next((each for each in locks_of(script) if os.path.isfile(each)), None)


def locks_of(script: str) -> list[str]:
    """The names that a script's lock may have (:pep:`751`): its own, its folder's."""
    folder, name = os.path.split(script)
    stem = name.removesuffix(".py")
    own = [] if "." in stem else [os.path.join(folder, f"pylock.{stem}.toml")]
    return [*own, f"{script}.lock", os.path.join(folder, "pylock.toml")]


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _touch(path: str) -> bool:
    """Set a file's time to now; False if there is none."""
    try:
        os.utime(path)
    except OSError:
        return os.path.exists(path)
    return True
