"""What a person sees, in a narrow terminal and in a pipe."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel.environment import Environment
from commonwheel.frontends import console
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.status import EnvironmentStatus, LinkedDistribution
from commonwheel.maintenance.store_status import (
    Amount,
    RegisteredEnvironment,
    StoreStatus,
)
from commonwheel.sight import State

LONG = "a-distribution-with-a-name-that-is-much-longer-than-most"


@pytest.fixture
def found(environment: Environment) -> EnvironmentStatus:
    entry = Path(f"/store/entries/{LONG}-1.0-12345678")
    one = LinkedDistribution(
        LONG, "1.0", entry, LinkMode.MANIFEST, True, 123_456_789, 4321
    )
    gone = replace(one, name="[gone]", present=False, bytes_saved=0, inodes_saved=0)
    return EnvironmentStatus(environment, (one, gone), 2)


def test_nothing_is_cut_off_in_a_pipe(
    found: EnvironmentStatus, capsys: pytest.CaptureFixture[str]
) -> None:
    console.print_status(found)
    printed = capsys.readouterr().out
    assert f"{LONG}-1.0-12345678 is missing or unreadable" in printed
    assert "123.5 MB and 4,321 inodes saved" in printed
    assert "[gone]" in printed
    assert "\x1b" not in printed


def test_a_narrow_terminal_gets_no_longer_lines(
    found: EnvironmentStatus,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    console.print_status(found)
    *table, _, _ = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert len(table) > 3  # folded, not cut off
    assert max(map(len, table)) <= 80


def test_no_progress_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_bar() as show:
        show("linking", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_is_in_bytes_or_in_distributions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    for what, expected in (
        (("linking", 1, 2), "1/2"),
        (("fetching", 1_500_000, 3_000_000), "1.5 MB of 3.0 MB"),
        (("fetching", 1_500_000, 0), "1.5 MB"),
    ):
        with console.progress_bar() as show:
            show(*what)
        lines = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capsys.readouterr().err).splitlines()
        shown = next(line for line in reversed(lines) if line.strip())
        assert shown.split()[0] == what[0]
        assert shown.endswith(f" {expected}")
        assert len(shown) <= 80


@pytest.fixture
def shared() -> StoreStatus:
    environments = [
        RegisteredEnvironment(
            Path(f"/home/somebody/projects/{LONG}/{number}[red]/.venv"),
            state,
            "",
            100_000.0,
            None,
            Amount(1234, 10**9 // (number + 1), 50_000),
            0,
        )
        for number, state in enumerate([*State] * 10)
    ]
    copies = Amount(50_000, 50 * 10**9, 2_000_000)
    stored = Amount(2000, 2 * 10**9, 80_000)
    return StoreStatus(
        Path("/store"),
        200_000.0,
        tuple(environments),
        stored,
        Amount(1990, 19 * 10**8, 70_000),
        copies,
        Amount(10, 10**8, 10_000),
    )


def test_a_store_in_a_pipe_has_a_line_for_each_environment(
    shared: StoreStatus, capsys: pytest.CaptureFixture[str]
) -> None:
    console.print_store_status(shared)
    printed = capsys.readouterr().out
    for each in shared.environments:
        (line,) = (row for row in printed.splitlines() if str(each.path) in row)
        assert "1,234" in line
        assert line.rstrip().endswith("1d ago")
    assert "48.0 GB and 1,920,000 inodes saved" in printed
    assert "would free 100.0 MB in 10 entries" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("colour", [True, False])
def test_a_store_in_a_narrow_terminal_has_bars_and_the_largest_environments(
    shared: StoreStatus,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    colour: bool,
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    console.print_store_status(shared)
    printed = capsys.readouterr().out
    assert ("\x1b[31m" in printed) == colour
    lines = re.sub(r"\x1b\[[\d;]*m", "", printed).splitlines()
    *table, _, _ = lines
    assert max(map(len, table)) <= 80
    assert "and 10 more, which --json has" in lines
    assert "━" * 20 in printed


def test_a_store_that_nobody_uses(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = Amount()
    console.print_store_status(
        StoreStatus(Path("/store"), 0.0, (), nothing, nothing, nothing, nothing)
    )
    assert "/store: 0 entries, 0 environments; 0 bytes" in capsys.readouterr().out
