"""Layer: a store of just what an environment or a lock needs, that is only read.

It goes under the stores of other machines, in a chain: as a folder, as an image that is
mounted, or as a layer of a container's image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from commonwheel import archive, entry_folder, files, integrity, manifest
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment, Scheme
from commonwheel.errors import InvalidStore
from commonwheel.export_errors import NotInLayer
from commonwheel.pin import Pin
from commonwheel.store import Store
from commonwheel.sync_plan import plan_sync

Progress = Callable[[str, int, int], object]

PLACE = "usr/share/commonwheel/store"
"""Where the store is in an archive, unless another place is wanted."""


@dataclass(frozen=True)
class Layer:
    """What a layer is to hold."""

    entries: tuple[Entry, ...]
    origins: tuple[tuple[str, Entry], ...] = ()
    """What else than its sha256 says which wheel an entry is of."""


def of_environment(environment: Environment) -> Layer:
    """What ``environment`` has from stores, linked or as real files.

    :raises NotInLayer: an entry is gone
    :raises InvalidStore: an entry cannot be read
    :raises ValueError: a link manifest is damaged; names it
    :raises OSError: the environment cannot be read
    """
    found: dict[str, Entry] = {}
    missing: list[str] = []
    for site in environment.sites:
        for link in manifest.read_all(site).values():
            entry = read_entry(link.entry)
            if entry is None:
                missing.append(f"{link.name} {link.version} ({link.entry})")
            else:
                found[entry.description.sha256] = entry
    if missing:
        raise NotInLayer(tuple(missing))
    return Layer(_sorted(found.values()))


def of_lock(pins: Sequence[Pin], environment: Environment, store: Store) -> Layer:
    """What ``pins``, selected for ``environment``, name; whatever is installed there.

    :raises NotInLayer: ``store`` does not have one of them
    :raises InvalidStore: an entry cannot be read
    """
    nowhere = Path(environment.scheme.data, "nothing is here")
    scheme = Scheme(nowhere, nowhere, nowhere, nowhere, nowhere)
    empty = replace(environment, scheme=scheme, plain=True)
    plain = tuple(replace(pin, editable=False) for pin in pins)
    plan = plan_sync(plain, empty, store, allow_sdist=True)
    lacking = (*plan.fetched, *plan.built, *plan.projects)
    if lacking:
        raise NotInLayer(tuple(sorted(map(str, lacking))))
    origins = {
        (origin, entry)
        for pin, entry in plan.linked
        if entry.description.sha256 not in pin.sha256s
        for origin in pin.origins(environment.cache_tag)
        if store.of_origin(origin) == entry
    }
    in_order = tuple(sorted(origins, key=lambda each: each[0]))
    return Layer(_sorted(entry for _, entry in plan.linked), in_order)


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda each: each.description.id))


def write_layer(
    layer: Layer,
    store: Store,
    compiler: Compiler,
    target: Path,
    *,
    below: str = PLACE,
    time: int = archive.TIME,
    progress: Progress = lambda task, done, total: None,
) -> None:
    """Make ``target`` a store of what ``layer`` holds: all or nothing.

    A folder, or what :func:`commonwheel.archive.write` makes of the name; ``below`` is
    where the store is in a tar archive, ``time`` is that of all files in an archive. It
    holds bytecode for the interpreter of ``compiler`` and for no other.

    :raises FileExistsError: there is something at ``target``
    :raises InvalidStore: an entry is damaged
    :raises InvalidEnvironment: the interpreter does not run
    :raises ProgramMissing: it takes a program that is not there
    :raises OSError: it cannot be written
    """
    if not archive.is_archive(target):
        with files.new_folder(target) as folder:
            _fill(layer, store, compiler, folder, progress)
        Store(target).close()
        return
    with files.staging(target.parent, f".{target.name}.") as staged:
        _fill(layer, store, compiler, staged / "store", progress)
        Store(staged / "store").close()
        archive.write(staged / "store", target, below=below, time=time, sealed=True)


def _fill(
    layer: Layer, store: Store, compiler: Compiler, folder: Path, progress: Progress
) -> None:
    made = Store(folder)
    with store.in_use():
        for number, entry in enumerate(layer.entries):
            progress("storing", number, len(layer.entries))
            _check(entry)
            others = set(entry_folder.other_bytecode(entry, compiler.cache_tag))
            made.ensure_bytecode(made.adopt(entry, others), compiler)
    for origin, entry in layer.origins:
        made.remember_origin(origin, entry)
    made.bytecode_of_runtime(compiler)


def _check(entry: Entry) -> None:
    """:raises InvalidStore: it is not what was published"""
    damages = integrity.inspect(entry.root)
    if damages:
        raise InvalidStore(
            entry.root.parent.parent, f"{damages[0]}; `commonwheel repair`"
        )
