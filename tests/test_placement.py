"""Placement: what has to be real files though links were chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commonwheel import entry as entry_file
from commonwheel.apply import Applied, apply, changing
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.installation import Request
from commonwheel.link_mode import LinkMode
from commonwheel.plan import plan_links
from conftest import make_environment
from entries import make_entry, write

MANIFEST, AUTO, COPY = LinkMode.MANIFEST, LinkMode.AUTO, LinkMode.COPY


def install(
    environment: Environment, *requests: Entry | Request, removed: tuple[str, ...] = ()
) -> Applied:
    wanted = [Request(r) if isinstance(r, Entry) else r for r in requests]
    with changing(environment):
        return apply(plan_links(wanted, environment, removed=removed), environment)


def stored(entries: Path, name: str, *args: Any, **kwargs: Any) -> Entry:
    """An entry that can be read again later."""
    entry = make_entry(entries, name, *args, **kwargs)
    text = entry_file.encode(entry.description)
    write(entry.root, {"entry.json": text, "dist-info/RECORD": entry.record})
    return entry


def modes(done: Applied) -> dict[str, LinkMode]:
    """The mode that was planned for each distribution."""
    return {each.name: each.mode for each in done.plan.installations}


def reasons(done: Applied) -> list[str]:
    return [each.reason for each in done.plan.installations]


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def library(entries: Path) -> Entry:
    """Has a library that others look for."""
    return stored(entries, "library", {"vendor/lib/libone.so": ""})


@pytest.fixture
def program(entries: Path) -> Entry:
    """Looks for it."""
    return stored(entries, "program", {"program/core.so": ""}, beside=("vendor/lib",))


@pytest.fixture
def module(entries: Path) -> Entry:
    """Has nothing to do with either."""
    return stored(entries, "module", {"module.py": ""})


def test_a_plain_folder_gets_real_files(
    environment: Environment, module: Entry, library: Entry
) -> None:
    plain = replace(environment, plain=True)
    done = install(plain, module, Request(library, mode=COPY))
    assert modes(done) == {"module": AUTO, "library": COPY}
    assert list(done.remarks()) == []  # it is what everybody expects there
    assert not (environment.scheme.purelib / "_commonwheel").exists()


def test_libraries_that_look_above_site_packages_are_real_files(
    environment: Environment, entries: Path, module: Entry
) -> None:
    above = ("$ORIGIN/../../../lib",)
    climber = stored(entries, "climber", {"climber.so": ""}, above=above)
    done = install(environment, climber, module)
    assert modes(done) == {"climber": AUTO, "module": MANIFEST}
    reason = "its libraries look for others where links do not help"
    said = f"climber is installed as real files: {reason} ($ORIGIN/../../../lib)"
    assert list(done.remarks()) == [said]


def test_what_looks_for_libraries_that_are_linked_is_linked(
    environment: Environment, program: Entry, library: Entry
) -> None:
    done = install(environment, program, library)
    assert modes(done) == {"program": MANIFEST, "library": MANIFEST}
    assert list(done.remarks()) == []


def test_what_looks_into_a_folder_of_real_files_is_real_files(
    environment: Environment, site: Path, program: Entry
) -> None:
    write(site, {"vendor/lib/libone.so": "as pip puts it there"})
    done = install(environment, program)
    assert modes(done) == {"program": AUTO}
    assert reasons(done) == ["its libraries look into vendor/lib, whose files are real"]


@pytest.mark.parametrize("real", ["program", "library"])
def test_what_looks_for_each_other_is_real_together(
    environment: Environment, program: Entry, library: Entry, module: Entry, real: str
) -> None:
    requests = [
        Request(each, mode=COPY if each.description.name == real else MANIFEST)
        for each in (program, library, module)
    ]
    done = install(environment, *requests)
    other = {"program": "library", "library": "program"}[real]
    assert modes(done) == {real: COPY, other: AUTO, "module": MANIFEST}
    reason = f"its libraries and those of {real} look for each other"
    assert list(done.remarks()) == [f"{other} is installed as real files: {reason}"]


def test_and_so_on_from_one_to_the_next(environment: Environment, entries: Path) -> None:
    chain = [
        stored(entries, f"link{n}", {f"link{n}/l.so": ""}, beside=(f"link{n + 1}",))
        for n in range(5)
    ]
    requests = [Request(each) for each in chain]
    requests[2] = replace(requests[2], mode=COPY)
    done = install(environment, *requests)
    expected = {f"link{n}": AUTO for n in range(5)} | {"link2": COPY}
    assert modes(done) == expected


@pytest.fixture(params=["program first", "library first"])
def in_order(
    request: pytest.FixtureRequest, program: Entry, library: Entry
) -> tuple[Entry, Entry]:
    """One that looks for a library and the one that has it."""
    is_first = request.param == "program first"
    return (program, library) if is_first else (library, program)


def name_of(entry: Entry) -> str:
    return entry.description.name


def test_what_is_linked_already_becomes_real_with_what_it_needs(
    environment: Environment, site: Path, module: Entry, in_order: tuple[Entry, Entry]
) -> None:
    first, second = in_order
    url = '{"url": "https://example.org/w.whl"}'
    asked = Request(first, requested=False, direct_url=url)
    install(environment, asked, module)
    done = install(environment, Request(second, mode=COPY))
    assert modes(done) == {name_of(second): COPY, name_of(first): AUTO}
    assert len(list(done.remarks())) == 1
    for path in ("vendor/lib/libone.so", "program/core.so"):
        assert (site / path).is_file()
        assert not (site / path).is_symlink()
    # it is the same installation as before
    metadata = site / f"{name_of(first)}-1.0.dist-info"
    assert (metadata / "direct_url.json").read_text() == url
    assert not (metadata / "REQUESTED").exists()
    # what nobody looks for stays
    assert (site / "_commonwheel/view/module.py").is_symlink()


def test_what_is_replaced_or_removed_does_not_count(
    environment: Environment, entries: Path, program: Entry, library: Entry
) -> None:
    install(environment, program)
    done = install(environment, Request(library, mode=COPY), removed=("program",))
    assert modes(done) == {"library": COPY}
    install(make_environment(environment.scheme.data.parent / "other"), program)
    newer = stored(entries, "program", {"program/core.so": "2"}, "2.0")
    done = install(environment, Request(library, mode=COPY), newer)
    assert modes(done) == {"library": COPY, "program": MANIFEST}


def test_what_is_real_already_has_what_it_needs_beside_it(
    environment: Environment, site: Path, in_order: tuple[Entry, Entry]
) -> None:
    """One at a time and in any order, as pip installs."""
    first, second = in_order
    install(environment, Request(first, mode=COPY))
    done = install(environment, second)
    assert modes(done) == {name_of(second): AUTO}
    for path in ("vendor/lib/libone.so", "program/core.so"):
        assert not (site / path).is_symlink()


def test_an_upgrade_of_what_real_files_look_for_stays_real(
    environment: Environment, entries: Path, program: Entry, library: Entry
) -> None:
    install(environment, Request(program, mode=COPY), library)
    newer = stored(entries, "library", {"vendor/lib/libone.so": "2"}, "2.0")
    assert modes(install(environment, newer)) == {"library": AUTO}


def test_both_can_be_linked_again(
    environment: Environment, site: Path, program: Entry, library: Entry
) -> None:
    """What is replaced at the same time are no real files any more."""
    install(environment, Request(program, mode=COPY), Request(library, mode=COPY))
    done = install(environment, program, library)
    assert modes(done) == {"program": MANIFEST, "library": MANIFEST}
    assert not (site / "vendor").exists()


def test_a_file_of_another_distribution_would_be_found_first(
    environment: Environment, site: Path, entries: Path
) -> None:
    write(site, {"shared/__init__.py": "copied", "shared/other.py": ""})
    write(site / "copied-1.0.dist-info", {"RECORD": "shared/__init__.py,,\n"})
    entry = stored(entries, "one", {"shared/__init__.py": "one", "one.py": ""})
    done = install(environment, entry)
    assert modes(done) == {"one": AUTO}
    assert reasons(done) == ["shared/__init__.py is there, as a real file"]
    assert (site / "shared/__init__.py").read_text() == "one"  # as with pip


def test_a_folder_can_be_partly_real_and_partly_linked(
    environment: Environment, site: Path, entries: Path
) -> None:
    write(site, {"shared/__init__.py": "copied"})
    entry = stored(entries, "one", {"shared/one.py": ""})
    assert modes(install(environment, entry)) == {"one": MANIFEST}
    assert (site / "_commonwheel/view/shared/one.py").is_file()


@pytest.mark.parametrize("mode", [COPY, LinkMode.HARDLINK])
def test_real_files_of_its_own_do_not_keep_it_real(
    environment: Environment, site: Path, entries: Path, mode: LinkMode
) -> None:
    files = {"one/__init__.py": "", "one.pth": "", "two.py": ""}
    entry = stored(entries, "one", files)
    install(environment, Request(entry, mode=mode))
    assert (site / "one/__init__.py").is_file()
    assert modes(install(environment, entry)) == {"one": MANIFEST}
    assert not (site / "one").exists()


def test_bytecode_of_what_is_gone_is_no_file_of_another(
    environment: Environment, site: Path, entries: Path
) -> None:
    write(site, {"one/__pycache__/__init__.cpython-39.pyc": ""})
    entry = stored(entries, "one", {"one/__init__.py": ""})
    assert modes(install(environment, entry)) == {"one": MANIFEST}


def test_a_linked_distribution_without_its_entry_is_left_alone(
    environment: Environment, tmp_path: Path, program: Entry, library: Entry
) -> None:
    install(environment, program)
    program.root.rename(tmp_path / "lost")
    done = install(environment, Request(library, mode=COPY))
    assert modes(done) == {"library": COPY}
