from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import interpreters
from environments import Environment, Templates, copy_environment
from neighbourhood import NEIGHBOURS, Stage, write_wheels
from pairs import Compare, Comparison, Pair, Pairs, last_line, table
from wheelhouse import NEWEST_PIP, Sample, Wheelhouse, write_sample

DEFAULT_PYTHON = "3.12"
"""For tests that are not about the Python version."""

Make = Callable[..., Environment]

collect_ignore = ["project"]  # has tests of its own


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C works in what tests start, though a shell runs them in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """commonwheel as built from this checkout, what it needs, and six pips."""
    made = Wheelhouse(tmp_path_factory.mktemp("wheelhouse"))
    made.fill()
    return made


@pytest.fixture(scope="session")
def templates(
    tmp_path_factory: pytest.TempPathFactory, wheelhouse: Wheelhouse
) -> Templates:
    return Templates(tmp_path_factory.mktemp("templates"), wheelhouse)


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter for tests that are not about its version."""
    return interpreters.require(DEFAULT_PYTHON)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Sample]:
    """One of each kind of distribution, for a given interpreter."""
    made: dict[Path, Sample] = {}

    def sample_for(python: Path) -> Sample:
        if python not in made:
            made[python] = write_sample(tmp_path_factory.mktemp("sample"), python)
        return made[python]

    return sample_for


@pytest.fixture(scope="session")
def sample(samples: Callable[[Path], Sample], python: Path) -> Sample:
    return samples(python)


@pytest.fixture
def make(tmp_path: Path, templates: Templates, python: Path) -> Make:
    """Make an environment: ``make(pip="24.0")``."""

    def make_environment(
        name: str = "environment", *, pip: str = NEWEST_PIP, **kwargs: bool
    ) -> Environment:
        store = tmp_path / "store"
        return templates.make(tmp_path / name, python, pip, store=store, **kwargs)

    return make_environment


@pytest.fixture
def environment(make: Make) -> Environment:
    """An environment with the newest pip, and commonwheel."""
    return make()


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, python: Path
) -> Environment:
    """An environment with commonwheel, which serves others."""
    root = tmp_path_factory.mktemp("host")
    return templates.make(root / "host", python, NEWEST_PIP)


@pytest.fixture(scope="session")
def neighbourhood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of a subject and its neighbours."""
    folder = tmp_path_factory.mktemp("neighbourhood")
    write_wheels(folder)
    return folder


@pytest.fixture(scope="session", params=["23.2", NEWEST_PIP])
def prepared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    templates: Templates,
    python: Path,
    neighbourhood: Path,
) -> Stage:
    """What :func:`stage` copies."""
    root = tmp_path_factory.mktemp("prepared")
    environment = templates.make(root / "environment", python, request.param)
    before = environment.tree()
    environment.install(*NEIGHBOURS, wheels=neighbourhood)
    return Stage(environment, neighbourhood, before)


@pytest.fixture
def stage(prepared: Stage, tmp_path: Path) -> Iterator[Stage]:
    path = tmp_path / "environment"
    copy_environment(prepared.environment.path, path)
    yield prepared._replace(environment=Environment(path, prepared.environment.store))
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def pairs(
    tmp_path_factory: pytest.TempPathFactory,
    templates: Templates,
    wheelhouse: Wheelhouse,
    python: Path,
) -> Pairs:
    """Makes pairs of environments: ``pairs.of("requests", "six")``."""
    root = tmp_path_factory.mktemp("pairs")
    host = templates.make(root / "host", python, NEWEST_PIP)
    return Pairs(root, host, wheelhouse.pip(NEWEST_PIP), python)


@pytest.fixture
def compare(record_property: Callable[[str, object], None]) -> Compare:
    """Do the same in both environments of a pair; see :data:`pairs.Compare`."""

    def compare_environments(
        tool: str,
        pair: Pair,
        act: Callable[[Environment], Any],
        *,
        version: str = "",
        cell: Callable[[Any], object] = last_line,
        difference: Callable[[Any], Any] | None = None,
    ) -> Any:
        row = Comparison(tool, version or pair.versions[tool])
        try:
            return row.run(pair, act, cell=cell, difference=difference)
        finally:
            record_property("compared", asdict(row))

    return compare_environments


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables of everything that was compared, and measured."""
    compared = [
        [row["tool"], row["version"], *(*row["cells"], "?", "?")[:2], row["same"]]
        for row in _recorded(terminalreporter, "compared")
    ]
    header = ["tool", "version", "plain", "linked", "same"]
    _show(terminalreporter, "plain and linked environments", header, compared)
    header = ["filesystem", "asked", "used", "taken by the environment"]
    taken = list(_recorded(terminalreporter, "filesystem"))
    _show(terminalreporter, "link modes on filesystems", header, taken)


def _recorded(terminalreporter: pytest.TerminalReporter, wanted: str) -> Iterator[Any]:
    """What tests have recorded by a name (``record_property``)."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                yield from (row for name, row in report.user_properties if name == wanted)


def _show(
    terminalreporter: pytest.TerminalReporter,
    title: str,
    header: list[str],
    rows: list[list[str]],
) -> None:
    if rows:
        terminalreporter.section(title)
        terminalreporter.write_line("\n".join(table(header, rows)))
