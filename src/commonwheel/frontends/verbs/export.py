"""``commonwheel export``: a copy of an environment that needs nothing of commonwheel."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from commonwheel import archive, bytecode, files
from commonwheel.apply import settle
from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.export import plan_export, write_export
from commonwheel.maintenance.exporting.plan import Export

_MODES = tuple(mode.value for mode in LinkMode if mode is not LinkMode.MANIFEST)


class Arguments(argparse.Namespace):
    """What was asked for."""

    environment: Path
    destination: Path | None
    prefix: Path | None
    destdir: Path | None
    archive: Path | None
    python: Path | None
    link_mode: str
    no_bytecode: bool
    allow_outside: bool
    json: bool
    refuse: Callable[[str], NoReturn]
    """Ends the program: wrong usage."""


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "export",
        help="copy an environment so that it needs no store",
        description="Copy an environment: what it has from a store becomes real files, "
        "and nothing of commonwheel is in the copy, which runs wherever it lies. Its "
        "base interpreter has to be at the same path there, or where --python says.",
    )
    verb.add_argument(
        "--prefix",
        type=Path,
        metavar="DIR",
        help="where the copy will be: scripts name it, and need no shell",
    )
    verb.add_argument(
        "--destdir",
        type=Path,
        metavar="DIR",
        help="write to DIR/PREFIX, as `make install DESTDIR=DIR` does",
    )
    verb.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="write an archive instead of a folder: .tar, .tar.gz or .tar.zst; the same "
        "environment gives the same bytes, from Python 3.11 on",
    )
    verb.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="the base interpreter where the copy will be, of the same version",
    )
    verb.add_argument(
        "--link-mode",
        choices=_MODES,
        default=LinkMode.AUTO.value,
        metavar="MODE",
        help="how the store's files become real ones: reflink, hardlink, copy, or auto "
        "for the first of the three that works (the default)",
    )
    verb.add_argument(
        "--no-bytecode", action="store_true", help="leave all __pycache__ folders out"
    )
    verb.add_argument(
        "--allow-outside",
        action="store_true",
        help="keep what leads out of the environment (editable installs, links) as it is",
    )
    arguments.add_json(verb)
    verb.add_argument(
        "environment",
        type=Path,
        metavar="ENV",
        help="the folder of a virtual environment, or its interpreter",
    )
    verb.add_argument(
        "destination",
        nargs="?",
        type=Path,
        metavar="DEST",
        help="a folder that is not there yet, or empty",
    )
    verb.set_defaults(run=run, refuse=verb.error)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    target = _target(asked)
    environment = arguments.environment(asked.environment, managed=True)
    for said in settle(environment, settings.patience()):
        arguments.complain("warning", said)
    export = plan_export(
        environment,
        prefix=asked.prefix,
        python=asked.python,
        outside=asked.allow_outside,
        with_bytecode=not asked.no_bytecode,
    )
    if asked.archive is not None:
        if not (asked.no_bytecode or bytecode.is_reproducible(environment.version)):
            said = "not the same each time; --no-bytecode leaves it out"
            arguments.complain("warning", f"bytecode of {environment} is {said}")
        with arguments.writing(target):
            _write_archive(export, asked.archive, asked.prefix)
    else:
        with arguments.progress() as progress, arguments.writing(target):
            mode = LinkMode(asked.link_mode)
            write_export(export, target, mode, progress=progress)
    for remark in export.remarks:
        arguments.complain("warning", remark)
    print(f"{environment}: exported to {target}", file=sys.stderr)
    if asked.json:
        made = {"path": str(target), "files": len(export.files)}
        arguments.print_json({**made, "remarks": list(export.remarks)})
    return 0


def _target(asked: Arguments) -> Path:
    """Where to write.

    :raises SystemExit: what was asked for does not go together
    """
    for name in ("prefix", "python"):
        given: Path | None = getattr(asked, name)
        if given is not None and not given.is_absolute():
            asked.refuse(f"--{name} has to be a full path")
    if asked.destdir is not None and asked.prefix is None:
        asked.refuse("--destdir needs --prefix")
    named = (asked.destination, asked.destdir, asked.archive)
    if sum(each is not None for each in named) > 1:
        asked.refuse("DEST, --destdir and --archive exclude each other")
    if asked.archive is not None:
        if not archive.is_tar(asked.archive):
            asked.refuse("--archive is for names that end with .tar, .tar.gz or .tar.zst")
        return Path(os.path.abspath(asked.archive))
    if asked.destdir is not None and asked.prefix is not None:
        below = asked.prefix.relative_to(asked.prefix.anchor)
        return Path(os.path.abspath(asked.destdir / below))
    destination = asked.destination or asked.prefix
    if destination is None:
        asked.refuse("say where: DEST, --prefix or --archive")
    return Path(os.path.abspath(destination))


def _write_archive(export: Export, target: Path, prefix: Path | None) -> None:
    below = prefix.relative_to(prefix.anchor).as_posix() if prefix is not None else ""
    with (
        arguments.progress() as progress,
        files.staging(target.absolute().parent, f".{target.name}.") as staged,
    ):
        # of the times in an archive none is the one that bytecode would be compared with
        write_export(export, staged / "copy", dated=False, progress=progress)
        time = settings.source_date(archive.TIME)
        archive.write(staged / "copy", target.absolute(), below=below, time=time)
