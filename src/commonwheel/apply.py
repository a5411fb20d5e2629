"""Apply: plan -> files. The only writer into environments.

The order is chosen so that whatever stops it, what an environment's metadata lists can
be imported: links come first, then the manifest, and only then the ``.dist-info``
folder, built aside and renamed into place. What takes the place of something else is
swapped with it in one step. An error or Ctrl-C takes all steps back, in reverse.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from commonwheel import files, manifest
from commonwheel.change import Change
from commonwheel.environment import Environment
from commonwheel.errors import ApplyFailed, explain
from commonwheel.installation import RealFile
from commonwheel.link_mode import LinkMode
from commonwheel.plan import Plan
from commonwheel.steps import Steps

_LOCK = "lock"
_STAGE = "stage-"
_RESCUED = "rescued-"


@contextmanager
def changing(environment: Environment) -> Iterator[None]:
    """While this lasts, nobody else changes ``environment``.

    To be held from planning on: a plan is good for the environment that it has seen.

    :raises ApplyFailed: the environment cannot be read or written
    """
    site = environment.sites[0]
    folder = site / manifest.FOLDER
    lock = FileLock(folder / _LOCK, fallback_to_soft=False)
    missing = [each for each in (site, *site.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
            for each in environment.sites:
                _sweep(each / manifest.FOLDER)
            yield
        finally:
            _leave_nothing(folder, lock, missing)
            lock.release()
    except OSError as error:
        raise ApplyFailed(site, explain(error)) from error


def was_stopped(environment: Environment) -> bool:
    """Whether a process changing ``environment`` was killed, or is still at it."""
    folders = [site / manifest.FOLDER for site in environment.sites]
    return any(True for folder in folders for _ in folder.glob(f"{_STAGE}*"))


def _sweep(folder: Path) -> None:
    """Remove what a process that was stopped has left; the lock says that it is gone."""
    for stage in folder.glob(f"{_STAGE}*"):
        files.remove_tree(stage)


def _leave_nothing(folder: Path, lock: FileLock, made: Iterable[Path]) -> None:
    """Remove our folder if nothing is in it; who waits for the lock makes another.

    So are the folders above it that were ``made``, the innermost first.
    """
    try:
        if lock.is_locked and os.listdir(folder) == [_LOCK]:
            (folder / _LOCK).unlink()
        if not os.listdir(folder):
            for each in (folder, *made):
                each.rmdir()
    except (OSError, KeyboardInterrupt):
        pass  # Ctrl-C is too late: an exception would say that nothing was changed


@dataclass(frozen=True)
class Applied:
    """What carrying out a plan came to."""

    plan: Plan
    modes: Mapping[str, LinkMode]
    """What was really used, by distribution."""
    fallbacks: tuple[str, ...] = ()
    """What was done instead of what was wanted, and why."""

    def remarks(self) -> Iterator[str]:
        """What a person should be told."""
        yield from self.fallbacks
        for each in self.plan.installations:
            if each.reason:
                yield f"{each.name} is installed as real files: {each.reason}"
        for path, earlier, later in self.plan.overridden:
            yield f"{path} is in {earlier} and in {later}; the latter's is used"


def apply(plan: Plan) -> Applied:
    """Carry out ``plan``: completely, or not at all.

    To be called while :func:`changing` its environment.

    :raises LinkModeUnavailable: the only link mode that was allowed does not work
    :raises NoSymbolicLinks: there are none on the environment's filesystem
    :raises ApplyFailed: the environment cannot be written; it is as it was before
    :raises OSError: the same
    """
    touched = (
        *plan.sites,
        *(each.site for each in plan.installations),
        *(each.site for each in plan.removals),
    )
    site = next(iter(touched), None)
    if site is None:
        return Applied(plan, {})
    with _transaction(site) as change:
        _make_importable(plan, change)
        _make_known(plan, change)
        for removal in plan.removals:
            change.steps.remove(removal.paths)
        change.steps.prune()
    return Applied(plan, change.modes, change.fallbacks())


def write(written: Iterable[RealFile], environment: Environment) -> None:
    """Write files of ``environment`` that linking does not: all of them, or none.

    To be called while :func:`changing` it.

    :raises ApplyFailed: the environment cannot be written; it is as it was before
    :raises OSError: the same
    """
    with _transaction(environment.sites[0]) as change:
        for each in written:
            change.write(each)


def _make_importable(plan: Plan, change: Change) -> None:
    for site in plan.sites:
        change.prepare(site)
    for file in plan.runtime:
        change.write(file)
    for record in plan.records:
        change.write(record)
    for site, split in plan.splits:
        change.split(site, split)
    change.steps.remove(plan.dropped)
    for site, link in plan.shown:
        change.show(site, link)
    for installation in plan.installations:
        change.link(installation)


def _make_known(plan: Plan, change: Change) -> None:
    """From here on the plan's distributions count as installed."""
    renewed = {installation.dist_info for installation in plan.installations}
    for removal in plan.removals:
        if removal.dist_info not in renewed:
            change.steps.move_aside(removal.dist_info)
    for installation in plan.installations:
        change.publish_metadata(installation)


@contextmanager
def _transaction(site: Path) -> Iterator[Change]:
    folder = site / manifest.FOLDER
    stage = Path(tempfile.mkdtemp(dir=folder, prefix=_STAGE))
    steps = Steps(stage)
    try:
        yield Change(steps)
    except BaseException as error:
        if not steps.take_back():
            kept = stage.rename(folder / stage.name.replace(_STAGE, _RESCUED))
            raise ApplyFailed(site, str(error) or repr(error), kept) from error
        files.discard(stage)
        raise
    try:
        files.discard(stage)
    except KeyboardInterrupt:
        pass  # too late: an exception would say that nothing was changed
