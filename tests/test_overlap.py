"""Overlap: real files that two distributions have, and which of the two is told of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel.apply import Applied, apply, changing
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.installation import Request
from commonwheel.link_mode import LinkMode
from commonwheel.plan import plan_links
from entries import make_entry, write

LINKED, COPY, HARDLINK = LinkMode.MANIFEST, LinkMode.COPY, LinkMode.HARDLINK

Make = Callable[..., Entry]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *args, **kwargs: make_entry(tmp_path / "store", *args, **kwargs)


def install(
    environment: Environment,
    *entries: Entry,
    mode: LinkMode = COPY,
    removed: tuple[str, ...] = (),
) -> Applied:
    requests = [Request(entry, mode=mode) for entry in entries]
    with changing(environment):
        return apply(plan_links(requests, environment, removed=removed), environment)


def install_copied(site: Path, name: str, files: dict[str, str]) -> None:
    """A distribution as other installers leave it."""
    write(site, files)
    text = "".join(f"{path},,\n" for path in files)
    write(site / f"{name}-1.0.dist-info", {"RECORD": text})


@pytest.mark.parametrize("mode", [COPY, HARDLINK])
def test_the_later_of_two_in_one_command_wins_and_that_is_said(
    environment: Environment, site: Path, make: Make, mode: LinkMode
) -> None:
    one = make("one", {"shared/__init__.py": "1", "shared/same.py": ""})
    two = make("two", {"shared/__init__.py": "2", "shared/same.py": ""})
    done = install(environment, one, two, mode=mode)
    assert done.plan.overridden == (("shared/__init__.py", "one", "two"),)
    said = "shared/__init__.py is in one and in two; the latter's is used"
    assert list(done.remarks()) == [said]
    assert (site / "shared/__init__.py").read_text() == "2"


@pytest.mark.parametrize("earlier", [COPY, HARDLINK, LINKED])
@pytest.mark.parametrize("later", [COPY, HARDLINK])
def test_the_later_of_two_commands_wins_and_that_is_said(
    environment: Environment, make: Make, earlier: LinkMode, later: LinkMode
) -> None:
    install(environment, make("one", {"s/a.py": "1", "s/b.py": ""}), mode=earlier)
    done = install(environment, make("two", {"s/a.py": "2", "s/b.py": ""}), mode=later)
    assert done.plan.overridden == (("s/a.py", "one", "two"),)


def test_the_file_of_a_copied_distribution_is_written_over_and_that_is_said(
    environment: Environment, site: Path, make: Make
) -> None:
    install_copied(site, "Copied.One", {"s/a.py": "1", "s/b.py": ""})
    done = install(environment, make("two", {"s/a.py": "2", "s/b.py": ""}))
    assert done.plan.overridden == (("s/a.py", "copied-one", "two"),)
    assert (site / "s/a.py").read_text() == "2"


def test_what_is_linked_over_a_real_file_is_told_of_too(
    environment: Environment, site: Path, make: Make
) -> None:
    install_copied(site, "copied", {"s/a.py": "1"})
    done = install(environment, make("two", {"s/a.py": "2"}), mode=LINKED)
    assert list(done.remarks()) == [
        "two is installed as real files: s/a.py is there, as a real file",
        "s/a.py is in copied and in two; the latter's is used",
    ]


def test_a_file_that_nobody_lists_is_not_told_of(
    environment: Environment, site: Path, make: Make
) -> None:
    write(site, {"s/a.py": "by hand"})
    assert install(environment, make("two", {"s/a.py": "2"})).plan.overridden == ()


def test_what_goes_is_not_told_of(environment: Environment, make: Make) -> None:
    install(environment, make("one", {"s/a.py": "1"}), make("two", {"t/a.py": "1"}))
    newer = make("one", {"s/a.py": "2"}, "2.0")
    assert install(environment, newer).plan.overridden == ()
    three = make("three", {"s/a.py": "3", "t/a.py": "3"})
    done = install(environment, three, removed=("one", "two"))
    assert done.plan.overridden == ()


def test_data_of_another_one_is_told_of(environment: Environment, make: Make) -> None:
    """Bytecode is not, which is made of what is there; headers have folders each."""
    one = make("one", {"one.py": ""}, data={"share/same": "1"}, headers={"h": "1"})
    two = make("two", {"two.py": ""}, data={"share/same": "2"}, headers={"h": "2"})
    path = str(environment.scheme.data / "share/same")
    for entries in ((one, two), (two,)):
        told = install(environment, *entries).plan.overridden
        assert told == ((path, "one", "two"),) if len(entries) == 2 else not told


def test_a_plain_folder_has_owners_too(environment: Environment, make: Make) -> None:
    plain = replace(environment, plain=True)
    install(plain, make("one", {"s/a.py": "1"}))
    done = install(plain, make("two", {"s/a.py": "2"}))
    assert done.plan.overridden == (("s/a.py", "one", "two"),)


@pytest.mark.parametrize("record", [b"\xff", b'"s/a.py', b""])
def test_an_unreadable_record_of_another_is_no_reason_to_fail(
    environment: Environment, site: Path, make: Make, record: bytes
) -> None:
    write(site, {"s/a.py": "1"})
    (site / "bad-1.0.dist-info").mkdir()
    (site / "bad-1.0.dist-info/RECORD").write_bytes(record)
    install_copied(site, "copied", {"s/b.py": "1"})
    done = install(environment, make("two", {"s/a.py": "2", "s/b.py": "2"}))
    assert ("s/b.py", "copied", "two") in done.plan.overridden
    assert (site / "s/a.py").read_text() == "2"


def test_a_script_of_another_one_or_of_nobody_is_told_of(
    environment: Environment, site: Path, make: Make
) -> None:
    scripts = environment.scheme.scripts
    write(scripts, {"own": "somebody's", "same": ""})
    install(environment, make("one", {"one.py": ""}, scripts={"tool": "one:main"}))
    two = make("two", {"two.py": ""}, scripts={"tool": "two:main", "own": "two:main"})
    done = install(environment, two, mode=LINKED)
    assert set(done.plan.overridden) == {
        (str(scripts / "own"), "", "two"),
        (str(scripts / "tool"), "one", "two"),
    }
    assert any("of no distribution" in line for line in done.remarks())
    # again, what it replaces is its own
    assert install(environment, two, mode=LINKED).plan.overridden == ()
