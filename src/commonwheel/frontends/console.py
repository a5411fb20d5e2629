"""What a person sees: tables, a progress bar, messages. The only user of rich.

Data goes to standard output, everything else to standard error. rich itself respects
``NO_COLOR``, dumb terminals and pipes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table

from commonwheel.install import FETCHING
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.gc import Collected, Kept, Plan, Rules
from commonwheel.maintenance.status import EnvironmentStatus
from commonwheel.maintenance.store_status import (
    Amount,
    RegisteredEnvironment,
    StoreStatus,
)
from commonwheel.sight import State
from commonwheel.usage import Unused

_BAR = 20
"""Columns of a bar."""
_ROWS = 30
"""Rows of a long table on a terminal; in a pipe there are all."""
_WIDE = 1000
"""Columns of a table that goes to a pipe or a file: nothing is cut off there."""


def _output() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def print_status(status: EnvironmentStatus) -> None:
    """A table of what an environment has from a store, and a line of what that saves."""
    console = _output()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Distribution")
    table.add_column("Version")
    table.add_column("Mode")
    table.add_column("Saves", justify="right")
    table.add_column("Inodes", justify="right")
    table.add_column("Entry", overflow="fold", style="dim")
    for each in status.linked:
        needed = each.mode is LinkMode.MANIFEST
        lost = "is missing or unreadable" if needed else "(gone, and not needed)"
        entry = each.entry.name if each.present else f"{each.entry.name} {lost}"
        table.add_row(
            escape(each.name),
            escape(each.version),
            each.mode.value,
            decimal(each.bytes_saved),
            str(each.inodes_saved),
            escape(entry)
            if each.present or not needed
            else f"[red]{escape(entry)}[/red]",
        )
    if status.linked:
        console.print(table)
        console.print()
    console.print(escape(summary(status)), soft_wrap=True)


def summary(status: EnvironmentStatus) -> str:
    """One line: what an environment has from a store, and saves."""
    linked = sum(each.mode is LinkMode.MANIFEST for each in status.linked)
    real = len(status.linked) - linked
    others = f"{real} as real files, " if real else ""
    return (
        f"{status.environment}: {_count(linked, 'distribution')} linked, {others}"
        f"{status.plain} copied; {decimal(status.bytes_saved)} and "
        f"{_count(status.inodes_saved, 'inode')} saved"
    )


def print_store_status(status: StoreStatus) -> None:
    """A table of who uses a store, with bars, and what it takes and saves."""
    console = _output()
    rows = status.environments[: _ROWS if console.is_terminal else None]
    if rows:
        console.print(_environments(rows, status.now))
    if len(rows) < len(status.environments):
        left = len(status.environments) - len(rows)
        console.print(f"and {left:,} more, which --json has", style="dim")
    if rows:
        console.print()
    console.print(_sums(status))
    console.print()
    for line in store_summary(status):
        console.print(escape(line), soft_wrap=True)


def _environments(rows: Iterable[RegisteredEnvironment], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Environment", overflow="fold", ratio=1)
    table.add_column("State", no_wrap=True)
    table.add_column("Entries", justify="right", no_wrap=True)
    table.add_column("As copies", justify="right", no_wrap=True)
    table.add_column("", width=_BAR // 2)
    table.add_column("Changed", justify="right", no_wrap=True)
    largest = max(each.linked.bytes for each in rows)
    for each in rows:
        table.add_row(
            escape(str(each.path)),
            _STATES[each.state],
            f"{each.linked.entries + each.real:,}",
            decimal(each.linked.bytes),
            _bar(each.linked.bytes, largest, _BAR // 2),
            "" if each.changed is None else f"{_ago(now - each.changed)} ago",
        )
    return table


_STATES = {
    State.PRESENT: "there",
    State.UNREADABLE: "[red]unreadable[/red]",
    State.UNREACHABLE: "[yellow]out of reach[/yellow]",
    State.GONE: "[yellow]removed[/yellow]",
}


def _sums(status: StoreStatus) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(width=_BAR)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    largest = max(status.stored.bytes, status.copies.bytes)

    def add(what: str, amount: Amount) -> None:
        bar = _bar(amount.bytes, largest, _BAR)
        number, inodes = f"{amount.entries:,}", _count(amount.inodes, "inode")
        table.add_row(what, bar, decimal(amount.bytes), inodes, number)

    add("in the store", status.stored)
    add("of that, in use", status.used)
    add("as copies", status.copies)
    return table


def _bar(amount: int, largest: int, width: int) -> ProgressBar:
    return ProgressBar(total=max(1, largest), completed=amount, width=width)


def store_summary(status: StoreStatus) -> Iterator[str]:
    """What a store saves, and what a collection would free: a line each."""
    environments = _count(len(status.environments), "environment")
    yield (
        f"{status.path}: {_number(status.stored.entries)}, {environments}; "
        f"{decimal(status.bytes_saved)} and {_count(status.inodes_saved, 'inode')} saved"
    )
    yield (
        f"gc would free {decimal(status.free.bytes)} in {_number(status.free.entries)}"
        " now, going by what was noted"
    )


def print_collected(done: Collected, rules: Rules, dry_run: bool) -> None:
    """A line for each entry that nobody uses, and one for all of them."""
    plan = done.plan
    rows = [(each, "") for each in plan.free]
    rows += [(each.entry, _until(each)) for each in plan.kept]
    width = max((len(each.name) for each, _ in rows), default=0)
    lines = [
        f"{decimal(each.bytes):>9}  {each.name:<{width}}  {kept}{_why(each, plan)}"
        for each, kept in rows
    ]
    lines += [
        f"{'':>9}  {run.name:<{width}}  made to run programs, long unused"
        for run in plan.runs
    ]
    lines.append(collected(plan, rules, dry_run))
    # one line each, whatever the terminal's width is; and there can be thousands
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _why(entry: Unused, plan: Plan) -> str:
    if entry.last:
        first, *others = sorted(map(str, entry.last))
        if others:
            return f"only {first} and {len(others)} more held it, which are gone"
        return f"only {first} held it, which is gone"
    if entry.since >= plan.now:
        return "unused since now"
    return f"unused since {_moment(entry.since)}"


def _until(kept: Kept) -> str:
    return "kept: " if kept.until is None else f"kept until {_moment(kept.until)}: "


def collected(plan: Plan, rules: Rules, dry_run: bool) -> str:
    """One line: what was freed, and what is kept, until when."""
    kept = [each.entry for each in plan.kept]
    if not plan.free and not kept:
        return f"nothing to free: {_number(plan.used)} in the store, all in use"
    size = decimal(sum(each.bytes for each in kept))
    verb = "is" if len(kept) == 1 else "are"
    if not plan.free and all(each.since >= plan.now for each in kept):
        option = " --grace 0 frees them" if rules.older_than is None else ""
        ends = [each.until for each in plan.kept if each.until is not None]
        how_long = f"kept for {_ago(max(ends) - plan.now)}" if ends else "kept"
        return (
            f"nothing freed yet: {_number(len(kept))} ({size}) {verb} unused since now"
            f" and {verb} {how_long}{';' if option else ''}{option}"
        )
    said = "would free" if dry_run else "freed"
    freed = decimal(sum(each.bytes for each in plan.free))
    first = f"{said} {freed} in {_number(len(plan.free))}"
    if not plan.free:
        first = "nothing freed"
    if not kept:
        return first
    ends = [each.until for each in plan.kept if each.until is not None]
    return (
        f"{first}; {_number(len(kept), 'unused ')} ({size}) {verb} kept"
        f"{_kept_until(ends, len(kept))}"
    )


def _kept_until(ends: list[float], number: int) -> str:
    if not ends:
        return ": the store is small enough"
    first = _moment(min(ends))
    same = len(ends) == number and _moment(max(ends)) == first
    return f" until {first}" if same else f", the first until {first}"


def _number(entries: int, kind: str = "") -> str:
    return f"{entries:,} {kind}{'entry' if entries == 1 else 'entries'}"


def _moment(seconds: float) -> str:
    """A time of this place."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _ago(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, if that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", amount="")

        def show(what: str, done: int, total: int) -> None:
            amount = _amount(what, done, total)
            # without a total it shows that something is going on, no more
            bar.update(
                task, description=what, completed=done, total=total or None, amount=amount
            )

        yield show


def _amount(what: str, done: int, total: int) -> str:
    if what != FETCHING:
        return f"{done}/{total}"
    return f"{decimal(done)} of {decimal(total)}" if total else decimal(done)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
