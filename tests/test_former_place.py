"""The former place of a moved environment: nobody names it after a repair."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel import manifest, record, runtime
from commonwheel.environment import Environment, of_interpreter
from commonwheel.maintenance.mending import former_place
from commonwheel.maintenance.mending.plan import Outcome
from commonwheel.manifest import Manifest
from commonwheel.scripts import interpreter_line
from faults import all_or_nothing
from folders import snapshot
from wheel_file import hash_and_size

PRINT = "import sys\nprint(sys.prefix)\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    command = [sys.executable, "-m", "venv", "--without-pip", root / "venv"]
    subprocess.run(command, check=True)
    return root / "venv"


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """An environment, as if made there, with scripts of a copied distribution."""
    return make(template, tmp_path / "made")


def make(template: Path, path: Path) -> Path:
    shutil.copytree(template, path, symlinks=True)
    for each in (path / "bin").iterdir():
        if not each.is_symlink():
            content = each.read_bytes()
            each.write_bytes(content.replace(bytes(template), bytes(path)))
    with open(path / "bin/activate", "a", encoding="utf-8") as file:
        file.write(f"\nexport BESIDE='{path}-3' ABOVE='/x{path}'\n")
    python = path / "bin/python"
    long = b"#!/bin/sh\n'''exec' '" + bytes(python) + b"' \"$0\" \"$@\"\n' '''\n"
    put(path / "bin/direct", interpreter_line(python) + PRINT.encode())
    put(path / "bin/by-shell", long + PRINT.encode())
    put(path / "bin/edited", b"#!" + bytes(python) + b"\nprint('mine')\n")
    put(path / "bin/of-nobody", b"#!" + bytes(python) + b" -I\n" + PRINT.encode())
    put(path / "bin/of-another", f"#!{sys.executable}\n".encode())
    put(path / "bin/program", b"\x7fELF " + bytes(python))
    (path.parent / f"{path.name}-3").mkdir(exist_ok=True)
    put(path / "bin/longer", b"#!" + bytes(path) + b"-3/bin/python\n")
    listed = ("direct", "by-shell", "of-another", "program", "longer")
    rows = [
        ("../../../bin/" + n, *hash_and_size((path / "bin" / n).read_bytes()))
        for n in listed
    ]
    rows += [("../../../bin/edited", "sha256=another", "7"), ("copied.py", "", "")]
    dist_info = site_of(path) / "copied-1.0.dist-info"
    dist_info.mkdir()
    (dist_info / "RECORD").write_text("".join(",".join(row) + "\n" for row in rows))
    return path


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def site_of(path: Path) -> Path:
    return next(path.glob("lib/python*/site-packages"))


def start_up(path: Path) -> None:
    """What something that was linked has left."""
    site = site_of(path)
    name = runtime.START_UP
    (site / name).write_bytes(runtime.files("3.12.0", site)[name])


def mend(environment: Environment) -> Outcome:
    outcome = Outcome()
    former_place.renew(former_place.find(environment), environment, outcome)
    return outcome


def said(*command: object) -> str:
    answer = subprocess.run(list(map(str, command)), capture_output=True, check=True)
    return answer.stdout.decode().rstrip("\n")


def names(path: Path, place: Path) -> set[str]:
    found = (each for each in (path / "bin").iterdir() if not each.is_symlink())
    return {each.name for each in found if bytes(place) in each.read_bytes()}


@pytest.mark.parametrize("name", ["moved", "with a blank", "made-2", "it's $HOME", "x/y"])
def test_whatever_names_the_former_place_names_the_new_one(
    made: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    put(outside, (made / "bin/direct").read_bytes())
    (made / "bin/link").symlink_to(outside)
    mine = ("of-another", "program", "longer", "link", "python")
    before = {n: (made / "bin" / n).read_bytes() for n in mine}
    rows = dict.fromkeys(record.parse(record_of(made).read_text()))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    made.rename(path)
    moved = of_interpreter(path)
    outcome = mend(moved)
    assert outcome.broken == []
    for script in ("direct", "by-shell", "of-nobody"):
        assert said(path / "bin" / script) == str(path)
    assert said(path / "bin/edited") == "mine"
    shown = '. ./activate; printf "%s\\n" "$VIRTUAL_ENV" "$BESIDE" "$ABOVE"'
    answer = subprocess.run(
        ["sh", "-c", shown], capture_output=True, text=True, cwd=path / "bin", check=True
    )
    assert answer.stdout.splitlines() == [str(path), f"{made}-3", f"/x{made}"]
    assert {n: (path / "bin" / n).read_bytes() for n in mine} == before
    if name != "made-2":  # in which the former name is
        assert names(path, made) == {"activate", "program", "longer"}
    after = list(record.parse(record_of(path).read_text()))
    for old, new in zip(rows, after, strict=True):
        changed = new.path.endswith(("direct", "by-shell"))
        assert (old != new) is changed
        if changed:
            script = path / "bin" / Path(new.path).name
            assert (new.hash, new.size) == hash_and_size(script.read_bytes())
            assert script.stat().st_mode & 0o777 == 0o755
    assert former_place.find(moved) is None


def record_of(path: Path) -> Path:
    return site_of(path) / "copied-1.0.dist-info/RECORD"


@pytest.mark.parametrize("known_by", ["start-up file", "activate", "scripts"])
def test_each_thing_that_tells_where_it_was_is_enough(
    made: Path, tmp_path: Path, known_by: str
) -> None:
    if known_by == "start-up file":
        start_up(made)
    if known_by != "activate":
        (made / "bin/activate").unlink()
    else:
        for each in ("direct", "by-shell"):
            (made / "bin" / each).unlink()
    path = made.rename(tmp_path / "moved")
    if known_by != "scripts":  # somebody else is where it was
        (made / "bin").mkdir(parents=True)
        put(made / "bin/python", b"")
    mend(of_interpreter(path))
    assert names(path, made) - {"activate"} == {"program", "longer"}
    assert said(path / "bin/of-nobody") == str(path)


def test_a_copy_is_told_from_what_it_was_copied_from(made: Path, tmp_path: Path) -> None:
    before = snapshot(made)
    path = tmp_path / "copy"
    shutil.copytree(made, path, symlinks=True)
    assert said(path / "bin/direct") == str(made)
    mend(of_interpreter(path))
    assert said(path / "bin/direct") == str(path)
    assert said(made / "bin/direct") == str(made)
    assert snapshot(made) == before


def test_one_that_is_where_it_was_is_left_alone_by_all_its_names(
    made: Path, tmp_path: Path
) -> None:
    start_up(made)
    (tmp_path / "name").symlink_to(made)
    before = snapshot(made)
    for path in (made, tmp_path / "name"):
        assert former_place.find(of_interpreter(path)) is None
    assert snapshot(made) == before


def test_a_script_whose_interpreter_was_never_here_is_left_alone(made: Path) -> None:
    for name in ("/nowhere/bin/perl", "/nowhere/python", f"{made}/bin/python9"):
        put(made / "bin/direct", f"#!{name}\n".encode())
        assert former_place.find(of_interpreter(made)) is None


def test_what_is_linked_is_made_anew_with_its_links_and_not_here(
    made: Path, tmp_path: Path
) -> None:
    link = Manifest("copied", "1.0", Path("/entry"), "0" * 64, "copied-1.0.dist-info")
    path = site_of(made) / link.path
    path.parent.mkdir(parents=True)
    path.write_bytes(manifest.encode(link))
    with record_of(made).open("a") as file:
        file.write(f"{link.path},,\n")
    before = (made / "bin/direct").read_bytes()
    moved = made.rename(tmp_path / "moved")
    mend(of_interpreter(moved))
    assert (moved / "bin/direct").read_bytes() == before
    assert said(moved / "bin/of-nobody") == str(moved)


def test_what_is_no_virtual_environment_is_left_alone(made: Path, tmp_path: Path) -> None:
    environment = of_interpreter(made.rename(tmp_path / "moved"))
    assert former_place.find(environment) is not None
    (tmp_path / "moved/pyvenv.cfg").unlink()
    assert former_place.find(environment) is None


def test_what_cannot_be_quoted_stays_and_is_named(made: Path, tmp_path: Path) -> None:
    name = "activate.nu"
    text = f"let virtual_env = r#'{made}'#"
    (made / "bin" / name).write_text(text)
    path = made.rename(tmp_path / "it's $HOME")
    ((what, way_out),) = mend(of_interpreter(path)).broken
    assert name in what
    assert str(path) in way_out
    assert (path / "bin" / name).read_text() == text
    assert said(path / "bin/direct") == str(path)


def test_what_is_quoted_goes_on_being_quoted(made: Path, tmp_path: Path) -> None:
    text = "let virtual_env = r#'{}'# \"{}\""
    (made / "bin/activate.nu").write_text(text.format(made, made))
    for name in ("with a blank", "without"):
        path = made.rename(tmp_path / name)
        assert mend(of_interpreter(path)).broken == []
        assert (path / "bin/activate.nu").read_text() == text.format(path, path)
        made = path


def test_it_is_all_or_nothing(template: Path, tmp_path: Path) -> None:
    path = tmp_path / "moved"
    environments: list[Environment] = []

    def prepare() -> object:
        make(template, tmp_path / "made").rename(path)
        environment = of_interpreter(path)
        environments[:] = [replace(environment)]
        found = former_place.find(environment)
        return lambda: former_place.renew(found, environment, Outcome())

    for _ in all_or_nothing(path, prepare, KeyboardInterrupt()):  # type: ignore[arg-type]
        assert former_place.find(environments[0]) is None


@pytest.mark.parametrize("name", ["a", "it's", 'a "b', "a\\b", "ä\n, 'x')", "\udc80"])
def test_a_start_up_file_says_where_it_was_written_for(name: str) -> None:
    site = Path(os.sep, name)
    text = runtime.files("3.12.0", site)[runtime.START_UP].decode("ascii")
    assert runtime.home_of(text) == site
    assert runtime.home_of("") is None
    assert runtime.home_of(text.replace("'", "")) is None
