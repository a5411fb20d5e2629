"""``commonwheel repair``: make a store, or an environment, what it should be."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from commonwheel.apply import settle
from commonwheel.environment import Environment
from commonwheel.errors import InvalidEnvironment
from commonwheel.frontends import settings
from commonwheel.frontends.host_pip import HostPip
from commonwheel.frontends.verbs import arguments, subject
from commonwheel.maintenance import repair
from commonwheel.maintenance.mending import interpreter
from commonwheel.maintenance.mending.plan import Outcome, RepairPlan
from commonwheel.maintenance.mending.sources import Sources
from commonwheel.store import Store


class Arguments(subject.Arguments):
    """What was asked for."""

    python: Path | None
    find_links: list[Path]
    offline: bool
    undo_edits: bool
    dry_run: bool
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "repair",
        help="make a store, or an environment, what it should be",
        description="Find what is missing or damaged, as `verify` does, and make it "
        "anew: of another store, of wheel files, or of what pip fetches; the sha256 of "
        "wheels is always compared. What is right is left alone. The exit status is 1 if "
        "anything stays broken.",
    )
    subject.add(verb)
    verb.add_argument(
        "--find-links",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="a folder with wheels (may be given more than once)",
    )
    verb.add_argument("--offline", action="store_true", help="fetch nothing")
    verb.add_argument(
        "--undo-edits",
        action="store_true",
        help="put back real files that were edited in the environment",
    )
    verb.add_argument(
        "--python",
        type=Path,
        metavar="PY",
        help="give the environment this interpreter first, if its own is gone or old",
    )
    verb.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and do nothing"
    )
    arguments.add_json(verb)
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    wanted = _wanted(asked)
    environment = wanted if isinstance(wanted, Environment) else None
    store = wanted if isinstance(wanted, Store) else settings.open_store(asked.store)
    outcome = Outcome()
    with arguments.progress() as progress:
        if environment is not None:
            if not asked.dry_run:
                for said in settle(environment, store.patience):
                    arguments.complain("warning", said)
            plan = repair.plan_environment(
                environment,
                undo_edits=asked.undo_edits,
                older=asked.python is not None,
                progress=progress,
            )
        else:
            plan = repair.plan_store(store, progress)
        if not asked.dry_run:
            host = None if asked.offline else HostPip()
            sources = Sources(host, tuple(each.absolute() for each in asked.find_links))
            outcome = repair.carry_out(plan, environment, store, sources, progress)
    if asked.dry_run:
        if asked.python is not None:
            arguments.complain("note", "the interpreter is left as it is in a dry run")
        return _tell_plan(wanted, plan, asked)
    if environment is not None and asked.python is not None:
        for folder in _of_other_pythons(environment):
            message = f"{folder} is of another Python; nothing uses it, remove it"
            arguments.complain("note", message)
    return _tell(wanted, plan, outcome, asked)


def _of_other_pythons(environment: Environment) -> list[Path]:
    """The libraries that an environment has had for Pythons that it does not have now."""
    found = environment.scheme.data.glob("lib/py*/site-packages")
    used = {site.resolve() for site in environment.sites}
    return sorted(each.parent for each in found if each.resolve() not in used)


def _wanted(asked: Arguments) -> Store | Environment:
    folder = asked.subject
    if folder is None and asked.store is None and "VIRTUAL_ENV" in os.environ:
        folder = Path(os.environ["VIRTUAL_ENV"])
    if folder is not None and (folder / "pyvenv.cfg").is_file():
        if asked.python is not None and not asked.dry_run:
            interpreter.renew(folder, asked.python)
        elif _is_gone(folder):
            way_out = f"commonwheel repair {folder} --python PY"
            reason = f"its interpreter is gone; give it another one: {way_out}"
            raise InvalidEnvironment(folder, reason)
    return subject.of(asked)


def _is_gone(folder: Path) -> bool:
    """Whether the interpreter of a virtual environment is a link that leads nowhere."""
    path = folder / "bin/python"
    return path.is_symlink() and not path.exists()


def _tell_plan(wanted: Store | Environment, plan: RepairPlan, asked: Arguments) -> int:
    lines = list(_planned(plan))
    if asked.json:
        hopeless = [{"what": what, "way_out": out} for what, out in plan.hopeless]
        arguments.print_json({"would": lines, "broken": hopeless})
    else:
        for line in lines:
            print(line)
        for what, way_out in plan.hopeless:
            print(f"cannot mend {what}; to mend it: {way_out}")
    if plan.is_empty and not plan.hopeless:
        print(f"{subject.name_of(wanted)}: nothing to repair", file=sys.stderr)
    return 0


def _planned(plan: RepairPlan) -> Iterator[str]:
    yield from (f"would make anew {each}" for each in plan.entries)
    yield from (
        f"would link {each.manifest.name} {each.manifest.version} again"
        + (f": {each.damages[0]}" if each.damages else "")
        for each in plan.again
    )
    yield from (f"would renew the runtime: {each}" for each in plan.renew)
    yield from (f"would remove {each.place / each.path}" for each in plan.left)
    if plan.former is not None:
        places = " or ".join(map(str, plan.former.places))
        yield from (
            f"would renew {each}: it names {places}" for each in plan.former.files
        )
    yield from (f"would leave {each}" for each in plan.kept)


def _tell(
    wanted: Store | Environment, plan: RepairPlan, outcome: Outcome, asked: Arguments
) -> int:
    name = subject.name_of(wanted)
    if asked.json:
        broken = [{"what": what, "way_out": out} for what, out in outcome.broken]
        arguments.print_json({"mended": outcome.mended, "broken": broken})
    else:
        for line in outcome.mended:
            print(line)
    for remark in outcome.remarks:
        arguments.complain("warning", remark)
    for what, way_out in outcome.broken:
        arguments.complain("error", f"{what}; to mend it: {way_out}")
    if not outcome.mended and not outcome.broken:
        print(f"{name}: nothing to repair", file=sys.stderr)
    return 1 if outcome.broken else 0
