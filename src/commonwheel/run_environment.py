"""Run environments: what a lock names, importable and on PATH, without anybody's venv.

A run environment is a virtual environment in the store (:mod:`commonwheel.run_place` says
where, and finds it again), filled from a lock as any other. It stays where it is made, so
that scripts, ``pyvenv.cfg`` and the registry are right from the start; nobody runs in it
before the note that it is ready, which is written last. Who makes it holds a lock; what a
killed process has left is made anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from commonwheel import files, installed, manifest, run_place
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import CommonwheelError, InvalidEnvironment, InvalidStore
from commonwheel.install import Progress
from commonwheel.installed import Installed
from commonwheel.link_mode import LinkChoice
from commonwheel.lock import Lock
from commonwheel.lock_errors import NotInStore
from commonwheel.pin import Kind, Pin
from commonwheel.script_header import ScriptHeader
from commonwheel.selection import as_lock, requirements, select
from commonwheel.store import Store
from commonwheel.sync import Host, carry_out
from commonwheel.sync_plan import plan_sync

_READ_ONLY = (
    "it cannot be written, and what programs run in is made there; name a store that can"
    " be, and this one after it (--store FOLDER:STORE)"
)
_REFERS = re.compile(rb"^\s*(-r|-c|--requirement|--constraint)|\$\{", re.MULTILINE)
"""What a requirements file says that its own bytes do not settle."""


@dataclass(frozen=True)
class Purpose:
    """What a run environment is to hold, and for whom."""

    python: Path
    """The interpreter that it is made from."""
    pins: tuple[Pin, ...]
    identity: bytes
    """See :func:`commonwheel.run_place.identity`."""
    links: LinkChoice = LinkChoice()  # noqa: RUF009  frozen
    lasting: bool = True
    """Whether ``identity`` says all: not if folders of this machine are in the lock."""
    allow_sdist: bool = False
    require_hashes: bool = False


def of_lock(
    path: Path,
    content: bytes,
    lock: Lock,
    python: Path,
    *,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
    header: ScriptHeader | None = None,
    links: LinkChoice = LinkChoice(),  # noqa: B008  frozen
    settings: Iterable[str] = (),
    allow_sdist: bool = False,
) -> Purpose:
    """What the lock ``path`` names for the interpreter ``python``.

    ``content`` are its bytes, and ``lock`` what they say; ``groups`` are those beside its
    default groups; ``settings`` are what ``links`` was made of.

    :raises LockMismatch: it is for another Python or platform
    :raises InvalidLock: it is none, or does not have an extra or group
    :raises ScriptMismatch: it, or the interpreter, is not what the script asks for
    :raises InvalidEnvironment: the interpreter does not run, or is too old
    :raises OSError: the lock cannot be read
    """
    base = of_interpreter(python, managed=True)
    defaults = [*lock.default_groups, *groups] if groups else None
    pins = tuple(lock.select(base, extras, defaults))
    if header is not None:
        header.check(pins, base)
    lasting = not _is_local(pins) and not (
        b"lock-version" not in content and _REFERS.search(content)
    )
    program = base.python if run_place.is_wrapper(str(python)) else python
    identity = run_place.identity(
        content,
        str(program),
        extras=extras,
        groups=groups,
        header=run_place.header_of(str(header.path)) if header is not None else b"",
        links=settings,
        folder="" if lasting else os.path.realpath(path.parent),
    )
    hashes = lock.require_hashes
    return Purpose(program, pins, identity, links, lasting, allow_sdist, hashes)


def of_names(
    names: Iterable[str],
    python: Path,
    store: Store,
    *,
    header: ScriptHeader | None = None,
    links: LinkChoice = LinkChoice(),  # noqa: B008  frozen
    settings: Iterable[str] = (),
) -> Purpose:
    """What ``store`` has of ``names``, see :mod:`commonwheel.selection`.

    ``header`` is that of the script to run, if it has one.

    :raises InvalidSetting: a name is none
    :raises NothingFits: the store lacks something
    :raises ScriptMismatch: that is not what the script asks for
    :raises InvalidEnvironment: the interpreter does not run, or is too old
    """
    base = of_interpreter(python, managed=True)
    entries = select(requirements(names), base, store)
    pins = tuple(
        Pin(
            each.description.name,
            each.description.version,
            Kind.INDEX,
            hashes=frozenset({("sha256", each.description.sha256)}),
        )
        for each in entries
    )
    if header is not None:
        header.check(pins, base)
    program = base.python if run_place.is_wrapper(str(python)) else python
    content = as_lock(entries).encode("ascii")
    identity = run_place.identity(content, str(program), links=settings)
    return Purpose(program, pins, identity, links)


def provide(
    purpose: Purpose,
    store: Store,
    host: Host,
    *,
    offline: bool = False,
    progress: Progress = lambda task, done, total: None,
) -> Path:
    """The run environment for ``purpose``; it is made if there is none yet.

    ``host`` fetches what ``store`` lacks, unless ``offline``.

    :raises NotInStore: something is lacking, and may not be fetched
    :raises InvalidEnvironment: no virtual environment can be made with the interpreter
    :raises InvalidStore: the store cannot be written
    :raises CommonwheelError: as :func:`commonwheel.sync_plan.plan_sync` and
        :func:`commonwheel.sync.carry_out`
    """
    stores = [str(each.root) for each in (store, *store.below)]
    found = run_place.find(stores, purpose.identity) if purpose.lasting else None
    if found is not None:
        return Path(found)
    if store.root.exists() and not store.can_be_written:
        raise InvalidStore(store.root, _READ_ONLY)
    with store.making_run(run_place.key(purpose.identity)) as folder:
        made = run_place.is_ready(str(folder), purpose.identity)
        if not made or not purpose.lasting:  # nobody made it while we waited
            _make(folder, purpose, store, host, offline, progress)
    return folder


def _make(
    folder: Path,
    purpose: Purpose,
    store: Store,
    host: Host,
    offline: bool,
    progress: Progress,
) -> None:
    whole = _is_for(folder, purpose)
    try:
        environment = _laid_out(folder, purpose.python, keep=whole)
        plan = plan_sync(
            purpose.pins,
            environment,
            store,
            links=purpose.links,
            require_hashes=purpose.require_hashes,
            allow_sdist=purpose.allow_sdist,
            mendable=False,
        )
        lacking = (*plan.fetched, *plan.built, *plan.projects)
        if offline and lacking:
            raise NotInStore(store.root, tuple(map(str, lacking)))
        carry_out(plan, environment, store, host, progress)
        _write_notes(folder, environment, purpose)
    except (CommonwheelError, OSError, KeyboardInterrupt):
        if not whole and folder.exists():
            files.remove_tree(folder)
        raise


def _is_for(folder: Path, purpose: Purpose) -> bool:
    """Whether a folder was complete once, so that somebody may be running in it."""
    try:
        return (folder / run_place.READY).read_bytes() == purpose.identity
    except OSError:
        return False


def _laid_out(folder: Path, python: Path, *, keep: bool) -> Environment:
    """The virtual environment ``folder``; an empty one unless the one there is kept.

    :raises InvalidEnvironment: Python's own venv module fails
    """
    if keep:
        try:
            found = of_interpreter(Path(run_place.python_of(str(folder))))
            (folder / run_place.USED).touch()
        except InvalidEnvironment:
            pass
        else:
            return found
    if folder.exists():
        files.remove_tree(folder)
    folder.mkdir()
    used = folder / run_place.USED
    used.touch()
    used.chmod(0o664)  # where a team shares a store, that of others counts as well
    command = [str(python), "-I", "-m", "venv", "--without-pip", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        reason = f"it does not run ({error.strerror})"
        raise InvalidEnvironment(python, reason) from error
    if made.returncode != 0:
        lines = (made.stdout + made.stderr).strip().splitlines()
        reason = lines[-1] if lines else f"exit status {made.returncode}"
        raise InvalidEnvironment(python, f"its venv module fails: {reason}")
    return of_interpreter(folder)


def _write_notes(folder: Path, environment: Environment, purpose: Purpose) -> None:
    """What :mod:`commonwheel.run_place` and activation read; that it is ready at last."""
    linked = [
        each
        for site in environment.sites
        for each in manifest.read_all(site).values()
        if each.is_linked
    ]
    entries = "".join(f"{each.entry}\n" for each in linked)
    contents = {
        "sites": [str(site) for site in environment.sites],
        "distributions": [
            {"name": name, "version": found[0].version, "modules": _modules(found[0])}
            for name, found in sorted(installed.read(environment).items())
        ],
    }
    for name, content in (
        (run_place.ENTRIES, os.fsencode(entries)),
        (run_place.CONTENTS, json.dumps(contents, indent=1).encode("ascii")),
        (run_place.READY, purpose.identity),
    ):
        files.write_atomically(folder / name, content, 0o644)


def _modules(found: Installed) -> list[str]:
    """The importable names at the top level of a distribution that came from an entry."""
    link = found.link
    entry = read_entry(link.entry) if link is not None else None
    if entry is None:
        return []
    shown = (link.partition("/")[0] for link in entry.description.links)
    return sorted({each.partition(".")[0] for each in shown})


def _is_local(pins: Iterable[Pin]) -> bool:
    """Whether something comes from this machine that may change, as no hash says not."""
    return any(
        pin.kind is Kind.DIRECTORY
        or (pin.path is not None and not pin.hashes and pin.commit is None)
        for pin in pins
    )
