"""Exports, where nothing of what they were made from is: moved, shipped, packaged."""

from __future__ import annotations

import csv
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import interpreters
from environments import Environment, Templates, run, tree
from filesystems import require
from root_filesystem import RootFilesystem
from wheelhouse import NEWEST_PIP, Sample, write_wheel

NUMBERS = "import numpy; print(numpy.arange(4).sum(), numpy.__file__)"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Path:
    """What an application needs, from the index."""
    folder = tmp_path_factory.mktemp("wheels")
    version = python.name.removeprefix("python")
    options = ("--only-binary", ":all:", "--python-version", version)
    run([sys.executable, "-m", "pip", "download", "-q", "-d", folder, *options, *NAMES])
    return folder


NAMES = ("numpy", "pygments")


def commonwheel(
    host: Environment, *arguments: object, prefix: Sequence[object] = (), **kwargs: str
) -> None:
    program = host.path / "bin/commonwheel"
    host.run(*prefix, program, *arguments, variables=kwargs)


def build(
    host: Environment,
    python: Path,
    folder: Path,
    wheels: Sequence[Path],
    prefix: Sequence[object] = (),
) -> Path:
    """An environment at ``folder``, linked into a store beside it."""
    host.run(python, "-m", "venv", "--without-pip", folder)
    store = folder.parent / "store"
    given = ("--python", folder, "--store", store, *wheels)
    commonwheel(host, "install", *given, prefix=prefix)
    return folder


@pytest.fixture
def application(host: Environment, python: Path, wheels: Path, tmp_path: Path) -> Path:
    return build(host, python, tmp_path / "build/env", sorted(wheels.glob("*.whl")))


@pytest.fixture
def stage(python: Path, tmp_path: Path) -> RootFilesystem:
    """Where an export has to run: a Python at another path, and no commonwheel."""
    require("a root filesystem", "ldd")
    return RootFilesystem.make(tmp_path / "stage", python)


def names_in(folder: Path) -> list[str]:
    return [name for name in tree(folder, contents=False) if "commonwheel" in name]


def test_ask_04_filled_in_one_stage_and_run_in_the_next(
    host: Environment, application: Path, stage: RootFilesystem
) -> None:
    there = stage.folder / "srv/app"
    commonwheel(host, "export", application, there, "--python", stage.python)
    stage.add_tools()
    stage.add_libraries(there.rglob("*.so"))
    assert not names_in(stage.folder)
    assert not (stage.folder / str(application).lstrip("/")).exists()
    said = stage.run("/srv/app/bin/python", "-c", NUMBERS).stdout
    assert said.startswith("6 /srv/app/lib/")
    assert stage.run("/srv/app/bin/pygmentize", "-V").stdout.startswith("Pygments")
    # it runs wherever it lies, and by a link as well
    there.rename(stage.folder / "app it is")
    (stage.folder / "bin/pygments").symlink_to("/app it is/bin/pygmentize")
    for program in ("/app it is/bin/pygmentize", "/bin/pygments"):
        assert stage.run(program, "-V").stdout.startswith("Pygments")


def test_ask_04_nothing_is_compiled_where_an_archive_was_unpacked(
    host: Environment, application: Path, stage: RootFilesystem
) -> None:
    archive = application.parent / "app.tar.zst"
    options = ("--prefix", "/opt/app", "--python", stage.python, "--archive", archive)
    commonwheel(host, "export", application, *options)
    # not even the times are kept
    run(["tar", "--zstd", "-m", "-xf", archive, "-C", stage.folder])
    stage.add_libraries((stage.folder / "opt").rglob("*.so"))
    before = tree(stage.folder / "opt")
    watch = ("/opt/app/bin/python", "-v", "-c", "import numpy, pygments.lexers")
    said = stage.run(*watch).stderr
    own = [line for line in said.splitlines() if "/opt/app" in line]
    assert any("matches" in line for line in own)
    assert not any("could not create" in line or "wrote" in line for line in own)
    # no shell is there, and none is needed
    assert stage.run("/opt/app/bin/pygmentize", "-V").stdout.startswith("Pygments")
    assert tree(stage.folder / "opt") == before


CONTROL = """\
Package: application
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: numbers and colours
"""


def test_ask_04_a_debian_package_that_goes_without_a_trace(
    host: Environment, application: Path, stage: RootFilesystem, tmp_path: Path
) -> None:
    require("a Debian package", "dpkg", "dpkg-deb")
    tree_of = tmp_path / "debian"
    where = ("--prefix", "/opt/app", "--destdir", tree_of)
    options = (*where, "--python", stage.python, "--link-mode", "copy")
    commonwheel(host, "export", application, *options)
    (tree_of / "DEBIAN").mkdir()
    (tree_of / "DEBIAN/control").write_text(CONTROL)
    package = tmp_path / "application.deb"
    run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree_of, package])
    for name in ("info", "updates"):
        (stage.folder / "var/lib/dpkg" / name).mkdir(parents=True)
    for name in ("status", "available"):
        (stage.folder / "var/lib/dpkg" / name).touch()
    before = tree(stage.folder)
    dpkg = ("dpkg", f"--root={stage.folder}", "--force-not-root", "--log=/dev/null")
    run([*dpkg, "--install", package])
    stage.add_libraries((stage.folder / "opt").rglob("*.so"))
    libraries = tree(stage.folder).keys() - before.keys()
    assert stage.run("/opt/app/bin/pygmentize", "-V").stdout.startswith("Pygments")
    said = stage.run("/opt/app/bin/python", "-c", NUMBERS).stdout
    assert said.startswith("6 /opt/app/lib/")
    line = (stage.folder / "opt/app/bin/pygmentize").read_text().splitlines()[0]
    assert line == "#!/opt/app/bin/python"
    run([*dpkg, "--purge", "application"])
    assert libraries
    assert not (stage.folder / "opt").exists()


@pytest.mark.parametrize(
    ("version", "more"), [("3.9", ("--no-bytecode",)), ("3.11", ()), ("3.13", ())]
)
def test_the_same_bytes_from_fresh_stores_in_other_folders(
    host: Environment, version: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    python = interpreters.require(version)
    # up to 3.10 the order of such a set is that of random hashes
    words = ", ".join(f"'word{number}'" for number in range(40))
    code = f"def f(x):\n    return x in {{{words}}}\n"
    given = [
        write_wheel(
            tmp_path / "wheels",
            f"many{number}",
            "1.0",
            {f"many{number}/part{n}.py": f"{code}N = {n}\n" for n in range(60)},
            entry_points=f"[console_scripts]\nmany{number} = many{number}:f\n",
        )
        for number in range(3)
    ]
    digests: dict[str, set[str]] = {}
    for folder, wheels, prefix in (
        (tmp_path / "one", given, ()),
        (tmp_path / "some/where/else", given[::-1], ("taskset", "--cpu-list", "0")),
    ):
        environment = build(host, python, folder / "env", wheels, prefix)
        for name, options in (
            ("app.tar.zst", ()),
            ("app.tar.gz", ("--prefix", "/opt/app")),
        ):
            archive = folder / name
            where = ("--archive", archive, *options, *more)
            commonwheel(host, "export", environment, *where)
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            digests.setdefault(name, set()).add(digest)
    assert {name: len(found) for name, found in digests.items()} == {
        "app.tar.zst": 1,
        "app.tar.gz": 1,
    }


def test_the_copy_is_what_pip_would_have_made(
    host: Environment,
    templates: Templates,
    python: Path,
    sample: Sample,
    tmp_path: Path,
) -> None:
    wheels = sorted(sample.folder.glob("*-1.0-*.whl"))
    copied = templates.make(tmp_path / "copied", python, NEWEST_PIP, commonwheel=False)
    copied.pip("uninstall", "-y", "pip")
    pip = ("-m", "pip", "--python", copied.python, "install", "--no-index", "--no-deps")
    host.run(host.python, *pip, *wheels)
    linked = build(host, python, tmp_path / "build/env", wheels)
    target = tmp_path / "export"
    options = ("--prefix", copied.path, "--link-mode", "copy")
    commonwheel(host, "export", linked, target, *options)
    found, expected = tree(target), tree(copied.path)
    differing = {p for p in expected if found.get(p) != expected[p]}
    differing |= found.keys() - expected.keys()
    names = {path.rpartition("/")[2] for path in differing}
    # who installed it and from where is not the same
    of_metadata = {"INSTALLER", "RECORD", "direct_url.json"}
    of_making = {"pyvenv.cfg", "activate", "activate.fish", "activate.csh"}
    assert names <= of_metadata | of_making | {"Activate.ps1"}
    for path in target.rglob("RECORD"):
        other = copied.path / path.relative_to(target)
        assert rows(path) == rows(other)


def rows(path: Path) -> dict[str, tuple[str, ...]]:
    with open(path, encoding="utf-8", newline="") as file:
        found = {row[0]: tuple(row[1:]) for row in csv.reader(file)}
    unlike = ("INSTALLER", "direct_url.json")
    return {name: each for name, each in found.items() if not name.endswith(unlike)}


def test_interrupting_leaves_nothing(
    host: Environment, application: Path, tmp_path: Path
) -> None:
    target = tmp_path / "deep/export"
    before = tree(tmp_path)
    # somewhere in the middle
    inject = "inject=openat:signal=INT:when=2500"
    command = ("strace", "-qq", "-f", "-o", os.devnull, "-e", inject)
    program = host.path / "bin/commonwheel"
    export = ("export", application, target, "--link-mode", "copy")
    done = host.run(*command, program, *export, check=False)
    assert done.returncode == 1, done.stderr
    assert "interrupted" in done.stderr
    assert tree(tmp_path) == before
