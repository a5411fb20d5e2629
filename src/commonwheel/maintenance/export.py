"""Export: a copy of an environment that needs neither a store nor commonwheel.

What the environment has from stores becomes real files; all else is copied as it is, but
for what says where the environment was (:mod:`commonwheel.relocation`). Nothing of
commonwheel's is in the copy, and its RECORD files are as an installer would have written
them.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from pathlib import Path

from commonwheel import bytecode, files
from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment
from commonwheel.errors import InvalidEnvironment
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.exporting.inventory import Inventory
from commonwheel.maintenance.exporting.plan import Export
from commonwheel.sharing import EDITABLE, WAYS, Sharing, file_modes

Progress = Callable[[str, int, int], object]


def plan_export(
    environment: Environment,
    *,
    prefix: Path | None = None,
    python: Path | None = None,
    outside: bool = False,
    with_bytecode: bool = True,
) -> Export:
    """What a copy of ``environment`` consists of. Writes nothing.

    ``prefix`` is where the copy will be; None: wherever somebody puts it. ``python`` is
    the interpreter that it is based on there, if not the same one. ``outside``: what
    leads out of the environment stays as it is; it must then be there, too.

    :raises InvalidEnvironment: it is no virtual environment, or a RECORD is damaged
    :raises NotSelfContained: it needs what is outside, or an entry that is gone
    :raises InvalidStore: an entry is damaged
    :raises ValueError: a link manifest is damaged; names it
    :raises OSError: it cannot be read
    """
    found = Inventory(environment, prefix, python)
    found.add_environment()
    found.add_linked(with_bytecode)
    if not outside:
        found.refuse_what_leads_out()
    compiled = found.add_compiled() if with_bytecode else {}
    found.amend_records(compiled)
    return Export(
        environment,
        tuple(found.folders),
        found.files,
        tuple(found.links.items()),
        compiled,
        tuple(found.remarks),
    )


def write_export(
    export: Export,
    target: Path,
    mode: LinkMode = LinkMode.AUTO,
    *,
    dated: bool = True,
    progress: Progress = lambda task, done, total: None,
) -> None:
    """Make the copy at ``target``, which is not there or an empty folder: all or nothing.

    ``mode`` is how files of stores become real ones. ``dated``: bytecode counts as long
    as its source has the time that it has now (as that of any installer), so that an edit
    is noticed; else always (:pep:`552`), whatever becomes of the times.

    :raises InvalidEnvironment: ``target`` is in the environment itself
    :raises FileExistsError: there is something at ``target``
    :raises LinkModeUnavailable: the only link mode that was allowed does not work
    :raises OSError: it cannot be written
    """
    real = os.path.realpath(target)
    if real.startswith(os.path.realpath(export.environment.scheme.data) + os.sep):
        raise InvalidEnvironment(target, "it is in the environment to be exported")
    with files.new_folder(target) as folder:
        _fill(export, folder, mode, progress)
        _add_bytecode(export, folder, dated)


def _fill(export: Export, folder: Path, mode: LinkMode, progress: Progress) -> None:
    """Write everything but bytecode."""
    stores = Sharing(WAYS[mode])
    own = Sharing(WAYS[LinkMode.COPY] if mode is LinkMode.COPY else EDITABLE)
    _, program = file_modes()
    made = _Folders(folder)
    for path in export.folders:
        made.need(path)
    wanted = [item for item in export.files.items() if not item[1].compiled_from]
    for number, (path, file) in enumerate(wanted):
        if number % _STEP == 0:
            progress("copying", number, len(wanted))
        made.need(posixpath.dirname(path))
        place = folder / path
        if file.content is not None:
            place.write_bytes(file.content)
            if file.executable:
                place.chmod(program)
        else:
            assert file.source is not None
            (stores if file.shared else own).place(file.source, place)
    for path, leads_to in export.links:
        made.need(posixpath.dirname(path))
        os.symlink(leads_to, folder / path)


_STEP = 256
"""Files between two reports of progress."""


class _Folders:
    """Makes the folders below one, each once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made = {""}

    def need(self, path: str) -> None:
        if path not in self._made:
            (self._root / path).mkdir(parents=True, exist_ok=True)
            self._made.add(path)


def _add_bytecode(export: Export, folder: Path, dated: bool) -> None:
    """Write the stores' bytecode, and make what they do not have."""
    environment = export.environment
    made = _Folders(folder)
    for path, file in export.files.items():
        if file.compiled_from:
            assert file.source is not None
            made.need(posixpath.dirname(path))
            content = file.source.read_bytes()
            _write_bytecode(folder / path, content, folder / file.compiled_from, dated)
    compiler = Compiler(environment.python, environment.cache_tag)
    for below, sources in export.compiled.items():
        compiler.compile(folder / below, sources, folder / below)
        for source in sources if dated else ():
            path = bytecode.path_of(f"{below}/{source}", environment.cache_tag)
            content = (folder / path).read_bytes()
            _write_bytecode(folder / path, content, folder / below / source, dated)


def _write_bytecode(path: Path, content: bytes, source: Path, dated: bool) -> None:
    path.write_bytes(bytecode.checked(content, source.stat()) if dated else content)
