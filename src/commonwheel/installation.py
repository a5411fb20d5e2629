"""What one distribution adds to an environment. Planned, not written."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from commonwheel import bytecode, manifest, record, scripts
from commonwheel.entry import Entry, Script, StoredFile
from commonwheel.environment import Environment
from commonwheel.errors import InvalidEnvironment, InvalidStore
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.view import Link, ViewPlan

INSTALLER = "commonwheel"

_NUMBERED = {
    "pip": ("pip{0}", "pip{0}.{1}"),
    "easy_install": ("easy_install-{0}.{1}",),
}
"""Scripts that have others beside them, named after the environment's Python.

A wheel for every Python cannot name them, or names the Python it was built with. pip
makes them of any wheel.
"""

_CONFIGURATION = (
    ".cfg",
    ".conf",
    ".env",
    ".ini",
    ".properties",
    ".toml",
    ".yaml",
    ".yml",
)
"""Files that somebody may edit where they are."""


@dataclass(frozen=True)
class Request:
    """An entry to link, and what its frontend knows about why."""

    entry: Entry
    requested: bool = True
    """Whether the user asked for it by name (the REQUESTED file of :pep:`376`)."""
    direct_url: str | None = None
    """The contents of ``direct_url.json`` (:pep:`610`)."""
    header_folder: str | None = None
    """The name of its folder for headers, if not the distribution's normalized name."""
    mode: LinkMode = LinkMode.MANIFEST
    """How it is to get into the environment."""
    reason: str = ""
    """Why not by the mode that was chosen, if so."""
    installer: str = INSTALLER
    """Who the INSTALLER file (:pep:`376`) names."""
    bytecode: bool = True
    """Whether real files come with bytecode; links always have it."""


@dataclass(frozen=True)
class RealFile:
    """A file to write, by its contents or as one of the store."""

    path: Path
    executable: bool = False
    content: bytes | None = None
    source: Path | None = None
    """In the store, if there is no ``content``."""
    shared: bool = False
    """Whether it may be one with ``source``, because nobody edits such a file."""
    compiled_from: Path | None = None
    """The source file in the environment that it is bytecode of."""


@dataclass(frozen=True)
class Installation:
    """What one distribution adds to an environment."""

    name: str
    version: str
    site: Path
    links: tuple[Link, ...]
    markers: tuple[str, ...]
    """Empty files, relative to the view."""
    files: tuple[RealFile, ...]
    """Scripts, headers, data, start-up files; all others too, if it is not linked."""
    mode: LinkMode
    reason: str
    """Why it is not the mode that was chosen, if so."""
    manifest: Manifest | None
    """None in a plain folder."""
    dist_info: Path
    metadata: tuple[tuple[str, Path], ...]
    """Files of ``dist_info`` that are the same everywhere: name, where in the store."""
    written: tuple[tuple[str, bytes], ...]
    """Files of ``dist_info`` of this environment: name, contents. RECORD is the last."""
    remarks: tuple[str, ...] = ()
    """What a person should know of it."""


def plan_linked(
    request: Request,
    environment: Environment,
    site: Path,
    planned: ViewPlan,
    template: str,
) -> Installation:
    """What linking an entry into the site-packages folder ``site`` adds.

    :raises InvalidEnvironment: a file would lie outside the environment
    """
    entry, description = request.entry, request.entry.description
    links, markers = planned.owned(description.name)
    real = [
        # listed among the entry's own rows
        RealFile(site / stored.path, source=entry.tree / stored.path)
        for stored in description.real
    ]
    rows = [record.Row(f"{manifest.VIEW}/{link.path}") for link in links]
    rows += [record.Row(f"{manifest.VIEW}/{path}") for path in markers]
    added = _Added(tuple(real), tuple(rows), description.metadata, entry.record)
    planned_here = _plan(request, environment, site, template, added)
    return replace(planned_here, links=links, markers=markers)


def plan_real(
    request: Request, environment: Environment, site: Path, template: str
) -> Installation:
    """What real files in the folder ``site`` add: what pip would put there.

    :raises InvalidStore: the entry is damaged
    :raises InvalidEnvironment: a file would lie outside the environment
    """
    entry, description = request.entry, request.entry.description
    kept = [name for name in description.metadata if name not in description.added]
    added = {f"{description.dist_info}/{name}" for name in description.added}
    metadata = f"{description.dist_info}/"
    rows = [row for row in record.parse(entry.record) if row.path not in added]
    tree = [row.path for row in rows if not row.path.startswith(metadata)]
    _check_sizes(entry, [row for row in rows if not row.path.startswith(metadata)])
    shared = {row.path for row in shared_rows(entry)}
    files = [
        RealFile(site / path, source=entry.tree / path, shared=path in shared)
        for path in tree
    ]
    compiled = list(_compiled(tree, request, environment, site))
    own_rows = tuple(record.Row(_relative(site, file.path)) for file in compiled)
    files += compiled
    text = record.render(rows)
    of_wheel = _Added(tuple(files), own_rows, tuple(kept), text, is_sorted=True)
    return _plan(request, environment, site, template, of_wheel)


def shared_rows(entry: Entry) -> Iterator[record.Row]:
    """The files of the tree that may be the store's own: those that nobody edits."""
    metadata = f"{entry.description.dist_info}/"
    real = {stored.path for stored in entry.description.real}
    for row in record.parse(entry.record):
        edited = row.path in real or row.path.endswith(_CONFIGURATION)
        if not edited and not row.path.startswith(metadata):
            yield row


def _check_sizes(entry: Entry, rows: Iterable[record.Row]) -> None:
    """What somebody has written to in the store does not spread as files of others.

    Bytecode that was made before would not even be of the same source.

    :raises InvalidStore: a file is missing, or of another size than RECORD says
    """
    for row in rows:
        try:
            found = os.stat(entry.tree / row.path).st_size
        except OSError:
            found = -1
        if str(found) != row.size:
            reason = f"{row.path} of entry {entry.root.name} is missing or changed"
            way_out = f"remove {entry.root} and install again"
            raise InvalidStore(entry.root.parent.parent, f"{reason}; {way_out}")


@dataclass(frozen=True)
class _Added:
    """What links and real files do not have in common."""

    files: tuple[RealFile, ...]
    rows: tuple[record.Row, ...]
    metadata: tuple[str, ...]
    record: str
    """The rows of the wheel's own files, as text."""
    is_sorted: bool = False
    """Whether all rows are, as pip's are; thousands of links would take long."""


def _compiled(
    tree: Iterable[str], request: Request, environment: Environment, site: Path
) -> Iterator[RealFile]:
    """The bytecode of the source files in ``tree``, as far as the store has it.

    A foreign Python gets none: whom the store has served before must not show.
    """
    for path in tree if request.bytecode and not environment.foreign else ():
        if path.endswith(".py"):
            cached = bytecode.path_of(path, environment.cache_tag)
            source = request.entry.tree / cached
            if os.path.exists(source):
                yield RealFile(site / cached, source=source, compiled_from=site / path)


def _plan(
    request: Request,
    environment: Environment,
    site: Path,
    template: str,
    added: _Added,
) -> Installation:
    entry, description = request.entry, request.entry.description
    link_manifest = Manifest(
        description.name,
        description.version,
        entry.root,
        description.sha256,
        description.dist_info,
    )
    generated = _generated(entry, environment, template)
    copies = _copies(request, environment)
    written = [("INSTALLER", f"{request.installer}\n".encode())]
    if request.requested:
        written.append(("REQUESTED", b""))
    if request.direct_url is not None:
        written.append(("direct_url.json", request.direct_url.encode("utf-8")))
    rows = [
        *(_row(_relative(site, file.path), file.content) for file in generated),
        *(
            record.Row(_relative(site, file.path), stored.hash, str(stored.size))
            for file, stored in copies
        ),
        *(_row(f"{description.dist_info}/{name}", data) for name, data in written),
        *added.rows,
        record.Row(f"{description.dist_info}/RECORD"),
    ]
    if not environment.plain:
        rows.append(record.Row(link_manifest.path))
    text = added.record + record.render(rows)
    if added.is_sorted:
        text = record.render(sorted(record.parse(text)))
    written.append(("RECORD", text.encode("utf-8")))
    files = (*generated, *(file for file, _ in copies), *added.files)
    _check_places(files, description.name, environment)
    return Installation(
        name=description.name,
        version=description.version,
        site=site,
        links=(),
        markers=(),
        files=files,
        mode=request.mode,
        reason=request.reason,
        manifest=None if environment.plain else link_manifest,
        dist_info=site / description.dist_info,
        metadata=tuple((name, entry.dist_info / name) for name in added.metadata),
        written=tuple(written),
        remarks=description.remarks,
    )


def _generated(entry: Entry, environment: Environment, template: str) -> list[RealFile]:
    """Scripts: those of entry points, and the wheel's own."""
    folder, python = environment.scheme.scripts, environment.python
    found: list[RealFile] = []
    names: set[str] = set()
    for script in _numbered(entry.description.scripts, environment.version):
        names.add(script.name)
        name, content = scripts.generate(
            script.name,
            script.module,
            script.attribute,
            script.gui,
            python,
            template,
            environment.launcher,
        )
        found.append(RealFile(folder / name, True, content))
    for stored in entry.description.script_files:
        # Setuptools puts its own wrappers of entry points into a wheel: not needed.
        if scripts.entry_point_of(stored.path) not in names:
            content = (entry.scripts / stored.path).read_bytes()
            adapted = scripts.adapt(content, python)
            found.append(RealFile(folder / stored.path, True, adapted))
    return found


def _numbered(found: Iterable[Script], version: str) -> Iterator[Script]:
    """The scripts to generate: see ``_NUMBERED``."""
    by_name = {script.name: script for script in found}
    for name, others in _NUMBERED.items():
        if name in by_name:
            stale = re.compile(rf"{name}-?\d+(\.\d+)?")
            by_name = {n: s for n, s in by_name.items() if not stale.fullmatch(n)}
            for other in others:
                right = other.format(*version.split("."))
                by_name[right] = replace(by_name[name], name=right)
    yield from by_name.values()


def _copies(
    request: Request, environment: Environment
) -> list[tuple[RealFile, StoredFile]]:
    """The wheel's headers and data files."""
    entry, scheme = request.entry, environment.scheme
    headers = scheme.headers / (request.header_folder or entry.description.name)
    return [
        (RealFile(target / file.path, file.executable, source=source / file.path), file)
        for group, source, target in (
            (entry.description.headers, entry.headers, headers),
            (entry.description.data, entry.data, scheme.data),
        )
        for file in group
    ]


def _check_places(files: Iterable[RealFile], name: str, environment: Environment) -> None:
    """No link in the environment leads a file of a wheel out of it, nor into the view."""
    roots = environment.roots
    own = [os.path.join(os.path.realpath(s), manifest.FOLDER) for s in environment.sites]
    for folder in dict.fromkeys(file.path.parent for file in files):
        real = os.path.join(os.path.realpath(folder), "")
        if not real.startswith(roots) or real.startswith(tuple(own)):
            reason = f"{name} has files for {folder}, which leads to {real}"
            raise InvalidEnvironment(environment.python, reason)


def paths(installation: Installation) -> Iterator[Path]:
    """Everything the installation writes, its metadata aside.

    As a :class:`~commonwheel.removal.Removal` has paths, so that the two can be compared.
    """
    real: dict[Path, str] = {}
    for file in installation.files:
        folder = file.path.parent
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        yield Path(real[folder], file.path.name)
    # not resolved further: what is a link in the view now may be a folder then
    site = Path(os.path.realpath(installation.site))
    if installation.manifest is not None:
        yield site / installation.manifest.path
    shown = site / manifest.VIEW
    yield from (shown / link.path for link in installation.links)
    yield from (shown / path for path in installation.markers)


def _relative(site: Path, path: Path) -> str:
    """As in RECORD: relative to site-packages, with ``/``."""
    return os.path.relpath(path, site).replace(os.sep, "/")


def _row(path: str, content: bytes | None) -> record.Row:
    assert content is not None
    digest = hashlib.sha256(content).digest()
    return record.Row(path, record.encode_digest("sha256", digest), str(len(content)))
