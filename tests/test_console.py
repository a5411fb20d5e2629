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
