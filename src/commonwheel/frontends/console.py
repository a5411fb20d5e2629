"""What a person sees: tables, a progress bar, messages. The only user of rich.

Data goes to standard output, everything else to standard error. rich itself respects
``NO_COLOR``, dumb terminals and pipes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from commonwheel.install import FETCHING
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.status import EnvironmentStatus

_WIDE = 200
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
