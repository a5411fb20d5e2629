"""Apply: plan -> files. The only writer into environments.

All contents are written aside first and brought to the disk. The order after that is
chosen so that whatever stops it, what an environment's metadata lists can be imported:
links come first, then the manifest, and only then the ``.dist-info`` folder. What takes
the place of something else is swapped with it in one step. An error or Ctrl-C takes all
back; so does the next change, if a process was killed or the power was cut.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from commonwheel import files, manifest, rollback
from commonwheel.change import Change, missing_top
from commonwheel.environment import Environment
from commonwheel.errors import ApplyFailed, EnvironmentBusy, explain
from commonwheel.exclusion import Exclusion, Patience, Wait
from commonwheel.installation import RealFile
from commonwheel.journal import Journal
from commonwheel.link_mode import LinkMode
from commonwheel.plan import Plan
from commonwheel.steps import Steps

_LOCK = "lock"
_STAGE = os.path.basename(manifest.ASIDE)
_DONE = "done-"
_RESCUED = "rescued-"
_KILLED = "what a command that was killed has done there"
_SAID = (
    "a command that changed this environment was killed, and what it has done cannot be"
    " taken back, because it was changed or copied since: what was there before is in {}"
)


@contextmanager
def changing(
    environment: Environment,
    patience: Patience = Patience(),  # noqa: B008  frozen
) -> Iterator[tuple[str, ...]]:
    """While this lasts, nobody else changes ``environment``.

    Yields what a person should be told of the one that was stopped before.

    To be held from planning on: a plan is good for the environment that it has seen.

    :raises EnvironmentBusy: somebody else changed it all the time
    :raises ApplyFailed: the environment cannot be read or written
    """
    site = environment.sites[0]
    folder = site / manifest.FOLDER
    wait = Wait(EnvironmentBusy, environment.scheme.data, patience)
    lock = Exclusion(folder / _LOCK, wait)
    missing = [each for each in (site, *site.parents) if not each.exists()]
    try:
        try:
            lock.acquire()
            folders = [each / manifest.FOLDER for each in environment.sites]
            yield tuple(line for each in folders for line in _sweep(each))
        finally:
            _leave_nothing(folder, lock, missing)
            lock.release()
    except OSError as error:
        raise ApplyFailed(site, explain(error, site)) from error


def was_stopped(environment: Environment) -> bool:
    """Whether a process changing ``environment`` was killed, or is still at it."""
    return any(_stages(site / manifest.FOLDER) for site in environment.sites)


def _stages(folder: Path) -> list[Path]:
    kinds = (f"{_STAGE}*", f"{_DONE}*")
    return [stage for kind in kinds for stage in folder.glob(kind)]


def settle(
    environment: Environment,
    patience: Patience = Patience(),  # noqa: B008  frozen
) -> tuple[str, ...]:
    """Take back what a process that was killed has done, as the next change would.

    To be called before something is planned that holds for longer than a change. Returns
    what a person should be told.

    :raises EnvironmentBusy: somebody else changed it all the time
    :raises ApplyFailed: the environment cannot be read or written
    """
    if was_stopped(environment):
        with changing(environment, patience) as said:
            return said
    return ()


def _sweep(folder: Path) -> Iterator[str]:
    """Take back what a process that was stopped has done; the lock says that it is gone.

    Not if somebody else has changed since what that was about: what was there before is
    then not what is wanted any more. It is kept, not put back.
    """
    for stage in _stages(folder):
        if stage.name.startswith(_STAGE):
            journal = Journal.read(stage)
            if rollback.is_of_now(journal):
                try:
                    rollback.take_back(journal)
                except OSError as error:
                    reason = f"{_KILLED} cannot be taken back: {explain(error)}"
                    raise ApplyFailed(folder.parent, reason, stage) from error
            elif rollback.has_kept(journal):
                yield _SAID.format(_rescue(stage))
                continue
        files.remove_tree(stage)


def _rescue(stage: Path) -> Path:
    """Keep what is not put back for whom it belongs to."""
    return stage.rename(stage.with_name(stage.name.replace(_STAGE, _RESCUED)))


def _leave_nothing(folder: Path, lock: Exclusion, made: Iterable[Path]) -> None:
    """Remove our folder if nothing is in it; who waits for the lock makes another.

    So are the folders above it that were ``made``, the innermost first.
    """
    try:
        if lock.is_held and os.listdir(folder) == [_LOCK]:
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
            yield from (f"{each.name}: {remark}" for remark in each.remarks)
        for path, earlier, later in self.plan.overridden:
            if earlier:
                yield f"{path} is in {earlier} and in {later}; the latter's is used"
            else:
                yield f"{path}, which is of no distribution, is replaced by {later}'s"


def apply(plan: Plan, environment: Environment) -> Applied:
    """Carry out a ``plan`` for ``environment``: completely, or not at all.

    To be called while :func:`changing` it.

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
    if not touched:
        return Applied(plan, {})
    site = environment.sites[0]
    with _transaction(site) as (change, journal):
        views = [each / manifest.VIEW for each in dict.fromkeys(touched)]
        gone = [path for removal in plan.removals for path in removal.paths]
        journal.begin(dict.fromkeys(touched), _paths(plan), gone, views)
        _write_aside(plan, change)
        journal.will_put(change.aside())
        _bring_to_disk(plan, journal, site)
        _make_importable(plan, change)
        _make_known(plan, change)
        change.steps.remove(gone)
        change.steps.prune()
    return Applied(plan, change.modes, change.fallbacks())


def write(written: Iterable[RealFile], environment: Environment) -> None:
    """Write files of ``environment`` that linking does not: all of them, or none.

    To be called while :func:`changing` it.

    :raises ApplyFailed: the environment cannot be written; it is as it was before
    :raises OSError: the same
    """
    written = tuple(written)
    site = environment.sites[0]
    with _transaction(site) as (change, journal):
        journal.begin(environment.sites, [each.path for each in written], (), ())
        for each in written:
            change.write_aside(each)
        journal.will_put(change.aside())
        files.sync_filesystem(site)
        for each in written:
            change.put(each.path)


def _paths(plan: Plan) -> Iterator[Path]:
    """What carrying out ``plan`` makes, replaces or takes away."""
    yield from (file.path for file in (*plan.runtime, *plan.records))
    yield from (site / manifest.VIEW / split.path for site, split in plan.splits)
    yield from plan.dropped
    yield from (site / manifest.VIEW / link.path for site, link in plan.shown)
    tops: dict[Path, Path | None] = {}
    for each in plan.installations:
        yield each.dist_info
        if each.manifest is not None:
            yield each.site / each.manifest.path
        yield from (each.site / manifest.VIEW / marker for marker in each.markers)
        yield from (each.site / manifest.VIEW / link.path for link in each.links)
        for file in each.files:
            yield missing_top(file.path.parent, tops) or file.path
    for removal in plan.removals:
        yield removal.dist_info
        yield from removal.paths


def _write_aside(plan: Plan, change: Change) -> None:
    """Write all contents where nobody looks for them."""
    for file in (*plan.runtime, *plan.records):
        change.write_aside(file)
    for site, split in plan.splits:
        change.write_split_aside(site, split)
    for site, link in plan.shown:
        change.write_link_aside(site, link)
    for each in plan.installations:
        for link in each.links:
            change.write_link_aside(each.site, link)
        change.write_files_aside(each)
        change.note(each)
        change.write_metadata_aside(each)


def _bring_to_disk(plan: Plan, journal: Journal, site: Path) -> None:
    """Wait until all that was written, the journal too, outlives a power cut.

    A name that reaches the disk before what it names is an empty file after one.
    """
    if plan.installations or plan.runtime or plan.records:
        files.sync_filesystem(site)
    else:
        journal.keep()


def _make_importable(plan: Plan, change: Change) -> None:
    for site in plan.sites:
        change.prepare(site)
    for file in (*plan.runtime, *plan.records):
        change.put(file.path)
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
        change.put(installation.dist_info)


@contextmanager
def _transaction(site: Path) -> Iterator[tuple[Change, Journal]]:
    folder = site / manifest.FOLDER
    stage = Path(tempfile.mkdtemp(dir=folder, prefix=_STAGE))
    journal = Journal(stage)
    done = stage.with_name(stage.name.replace(_STAGE, _DONE))
    try:
        yield Change(Steps(journal)), journal
        stage.rename(done)  # from here on nothing is taken back
    except BaseException as error:
        if not done.exists():
            try:
                rollback.take_back(journal)
            except OSError as other:
                reason = f"{str(error) or repr(error)}, and then {explain(other)}"
                raise ApplyFailed(site, reason, stage) from error
            files.discard(stage)
            raise
    try:
        files.discard(done)
    except KeyboardInterrupt:
        pass  # too late: an exception would say that nothing was changed
