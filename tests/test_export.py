"""Export: a copy that needs nothing of what it was made from, all or nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel import installed, record
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import CommonwheelError, InvalidEnvironment
from commonwheel.export_errors import NotSelfContained
from commonwheel.files import remove_tree
from commonwheel.frontends.cli import main
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.maintenance import export as exports
from commonwheel.maintenance.export import plan_export, write_export
from commonwheel.store import Store
from conftest import CACHE_TAG
from folders import snapshot
from wheel_file import hash_and_size, write_wheel

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/{VERSION}/site-packages"
USE = """
import json, sys
import one.inner, two, started, real_one, space.three, shared
from importlib.metadata import distributions
print(json.dumps([sys.prefix, shared.WHO, sorted(d.name for d in distributions())]))
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return make(tmp_path / "venv")


def make(folder: Path) -> Environment:
    command = [sys.executable, "-m", "venv", "--without-pip", folder]
    subprocess.run(command, check=True)
    return of_interpreter(folder)


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Of everything that a wheel can have; two of them have a file in common."""
    folder = tmp_path / "wheels"
    one = {
        "one/__init__.py": "def main():\n    import sys\n    print(sys.prefix)\n",
        "one/inner/__init__.py": "",
        "one/settings.toml": "",
        "one-1.0.data/scripts/one-script": "#!python\nimport one\none.main()\n",
        "one-1.0.data/scripts/one-shell": "#!/bin/sh\necho shell\n",
        "one-1.0.data/data/share/one.txt": "data",
        "one-1.0.data/headers/one.h": "",
        "shared.py": "WHO = 'one'\n",
    }
    points = "[console_scripts]\none-console = one:main\n"
    return [
        write_wheel(
            folder,
            one,
            "one",
            metadata={"entry_points.txt": points},
            executable=("one-1.0.data/scripts/one-shell",),
        ),
        write_wheel(folder, {"two.py": "", "shared.py": "WHO = 'two'\n"}, "two"),
        write_wheel(
            folder,
            {
                "started.pth": "import sys; sys.started = True\n",
                "started.py": "import sys; assert sys.started",
                "space/three/__init__.py": "",
            },
            "started",
        ),
        write_wheel(folder, {"real_one/__init__.py": ""}, "real_one"),
    ]


@pytest.fixture
def linked(environment: Environment, wheels: list[Path], store: Store) -> Environment:
    real = LinkChoice(real=frozenset({"real-one"}))
    install_wheels(list(map(WheelRequest, wheels)), environment, store, links=real)
    return environment


def root_of(environment: Environment) -> Path:
    return environment.scheme.data


def run(*command: str | Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def moved(linked: Environment, store: Store, tmp_path: Path) -> Path:
    """A copy that was moved; all that it was made from is gone."""
    write_export(plan_export(linked), tmp_path / "copy")
    remove_tree(store.root)
    shutil.rmtree(root_of(linked))
    place = tmp_path / "somewhere/it's here"
    place.parent.mkdir()
    (tmp_path / "copy").rename(place)
    return place


def test_a_copy_works_where_nothing_of_what_it_was_made_from_is(moved: Path) -> None:
    here, who, names = json.loads(run(moved / "bin/python", "-c", USE))
    assert here == str(moved)
    assert who == "two"  # the later one, as in the environment
    assert names == ["one", "real_one", "started", "two"]
    path = os.environ["PATH"]
    for name in ("one-console", "one-script"):
        done = subprocess.run(
            [moved / "bin" / name], env={"PATH": path}, capture_output=True, text=True
        )
        assert done.stdout == f"{moved}\n", done.stderr
    assert run(moved / "bin/one-shell") == "shell\n"
    assert (moved / "share/one.txt").read_text() == "data"


@pytest.mark.parametrize("last", ["one", "two"])
def test_of_two_files_of_one_name_it_has_the_one_that_the_environment_shows(
    linked: Environment, wheels: list[Path], store: Store, tmp_path: Path, last: str
) -> None:
    (wheel,) = (each for each in wheels if each.name.startswith(last))
    install_wheels([WheelRequest(wheel)], linked, store)
    write_export(plan_export(linked), tmp_path / "copy")
    code = "import shared; print(shared.WHO, shared.__cached__)"
    who, cached = run(tmp_path / "copy/bin/python", "-c", code).split()
    assert who == last
    assert last.encode() in Path(cached).read_bytes()


def test_nothing_in_it_is_of_commonwheel_or_says_where_it_was_made(
    moved: Path, linked: Environment, store: Store
) -> None:
    for path, (kind, _, content) in snapshot(moved).items():
        assert "commonwheel" not in path
        assert kind in ("file", "folder") or not str(content).startswith(str(store.root))
        if kind == "file" and not path.endswith("/INSTALLER"):
            assert isinstance(content, bytes)
            assert b"commonwheel" not in content, path
            for place in (root_of(linked), store.root):
                assert os.fsencode(place) not in content, path


def test_records_name_every_file_and_its_hash(moved: Path) -> None:
    site = moved / SITE
    listed: set[str] = set()
    for path in site.glob("*.dist-info/RECORD"):
        text = path.read_text()
        rows = list(record.parse(text))
        assert rows == sorted(rows)
        for row in rows:
            content = (site / row.path).read_bytes()
            found = os.path.relpath(site / row.path, moved)
            assert found not in listed or "shared." in found
            listed.add(found)
            # of two with the same file, the row of the earlier one is not of the later's
            if row.hash and not (row.path == "shared.py" and path.parent.name[0] == "o"):
                assert (row.hash, row.size) == hash_and_size(content), row.path
    there = {path for path, (kind, *_) in snapshot(moved).items() if kind == "file"}
    assert there - listed == {"pyvenv.cfg", "bin/activate", "bin/activate.fish"}
    assert f"{SITE}/one/inner/__pycache__/__init__.{CACHE_TAG}.pyc" in listed


def test_bytecode_of_a_folder_notices_edits_and_is_used_until_then(moved: Path) -> None:
    code = "import one; print(one.VALUE)"
    source = moved / SITE / "one/__init__.py"
    compiled = next(source.parent.glob("__pycache__/__init__.*.pyc"))
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0
    stamp = int.from_bytes(compiled.read_bytes()[8:12], "little")
    assert stamp == int(source.stat().st_mtime)
    source.chmod(0o644)
    text = source.read_text()
    source.unlink()
    source.write_text(f"{text}VALUE = 1\n")
    assert run(moved / "bin/python", "-c", code) == "1\n"


@pytest.mark.parametrize("mode", ["auto", "hardlink", "copy"])
def test_what_may_be_edited_is_never_the_stores_own_file(
    linked: Environment, store: Store, tmp_path: Path, mode: str
) -> None:
    before = snapshot(store.root / "entries")
    write_export(plan_export(linked), tmp_path / "copy", LinkMode(mode))
    shared = {
        path.relative_to(tmp_path / "copy").as_posix()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1
    }
    modules = {"one/__init__.py", "one/inner/__init__.py", "shared.py", "started.py"}
    modules |= {"two.py", "space/three/__init__.py"}
    if mode == "hardlink":
        assert shared == {f"{SITE}/{path}" for path in modules}
    if mode == "copy":
        assert not shared
    for path in (tmp_path / "copy").rglob("*"):
        name = path.relative_to(tmp_path / "copy").as_posix()
        if path.is_file() and name not in shared and not path.is_symlink():
            assert os.stat(path).st_mode & 0o200, name
            with open(path, "ab") as file:
                file.write(b"\n# edited")
    assert snapshot(store.root / "entries") == before


def test_a_prefix_is_named_by_scripts_and_needs_no_shell(
    linked: Environment, tmp_path: Path
) -> None:
    prefix = tmp_path / "opt/app"
    options = ["--prefix", str(prefix), "--destdir", str(tmp_path / "stage")]
    assert main(["export", str(root_of(linked)), *options]) == 0
    staged = tmp_path / "stage" / prefix.relative_to("/")
    line = (staged / "bin/one-console").read_text().splitlines()[0]
    assert line == f"#!{prefix}/bin/python"
    assert f"VIRTUAL_ENV={prefix}\n" in (staged / "bin/activate").read_text()
    prefix.parent.mkdir()
    staged.rename(prefix)
    assert run(prefix / "bin/one-console") == f"{prefix}\n"


@pytest.mark.parametrize("copied", [False, True])
def test_another_interpreter_may_be_there(
    linked: Environment, tmp_path: Path, copied: bool
) -> None:
    target = tmp_path / "copy"
    if copied:  # as of `python -m venv --copies`
        for path in (root_of(linked) / "bin").glob("python*"):
            path.unlink()
            shutil.copy(os.path.realpath(sys.executable), path)
    python = "/opt/py/bin/python3"
    options = ["--python", python, "--json"]
    assert main(["export", str(root_of(linked)), str(target), *options]) == 0
    leads = {os.readlink(path) for path in (target / "bin").glob("python*")}
    assert python in leads
    assert all(each == python or "/" not in each for each in leads)
    text = (target / "pyvenv.cfg").read_text()
    assert "home = /opt/py/bin\n" in text
    assert sys.base_prefix not in text


def test_the_same_archive_from_another_store_in_another_folder(
    wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("one", "deeper/other place"):
        folder = tmp_path / name
        monkeypatch.setenv("COMMONWHEEL_STORE", str(folder / "store"))
        environment = make(folder / f"env-{len(found)}")
        given = [str(wheel) for wheel in wheels[:: -1 if found else 1]]
        shared = wheels[1]
        options = ["--python", str(root_of(environment))]
        assert main(["install", *options, *given]) == 0
        assert main(["install", *options, str(shared)]) == 0
        for option in ([], ["--prefix", "/opt/app"]):
            target = folder / f"out{len(option)}.tar.gz"
            command = ["export", str(root_of(environment)), "--archive", str(target)]
            assert main([*command, *option]) == 0
        found.append([(folder / f"out{n}.tar.gz").read_bytes() for n in (0, 2)])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_the_time_in_an_archive_is_that_of_the_source(
    linked: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    target = tmp_path / "out.tar"
    command = ["export", str(root_of(linked)), "--archive", str(target)]
    assert main(command) == 0
    shutil.unpack_archive(target, tmp_path / "out", filter="tar")
    assert (tmp_path / "out" / SITE / "two.py").stat().st_mtime == 1_700_000_000
    # bytecode counts all the same
    compiled = next((tmp_path / "out" / SITE / "__pycache__").glob("two.*"))
    assert compiled.read_bytes()[4:8] == b"\1\0\0\0"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert main(command) == 1


def lead_out(environment: Environment, kind: str, outside: Path) -> None:
    root, site = root_of(environment), environment.sites[0]
    if kind == "editable":
        (site / "mine-1.0.dist-info").mkdir()
        said = {"url": outside.as_uri(), "dir_info": {"editable": True}}
        (site / "mine-1.0.dist-info/direct_url.json").write_text(json.dumps(said))
        (site / "mine-1.0.dist-info/METADATA").write_text("Name: mine\nVersion: 1.0\n")
    elif kind == "pth":
        (site / "mine.pth").write_text(f"# mine\nimport sys\n{outside}\n")
    elif kind == "link":
        (site / "mine").symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(root / "mine")
    else:
        text = (root / "pyvenv.cfg").read_text()
        (root / "pyvenv.cfg").write_text(text.replace("= false", "= true"))


@pytest.mark.parametrize("kind", ["editable", "pth", "link", "pipe", "system"])
def test_what_leads_out_is_named(linked: Environment, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "my project"
    outside.mkdir()
    lead_out(linked, kind, outside)
    with pytest.raises(NotSelfContained) as caught:
        plan_export(linked)
    named = {"pipe": "mine", "system": "base interpreter"}.get(kind, "my")
    assert named in str(caught.value)
    assert "--allow-outside" in str(caught.value)
    write_export(plan_export(linked, outside=True), tmp_path / "copy")
    assert installed.read(of_interpreter(tmp_path / "copy")).keys() >= {"one", "two"}


def test_links_within_the_environment_go_on_leading_there(
    linked: Environment, tmp_path: Path
) -> None:
    root = root_of(linked)
    (root / "CACHEDIR.TAG").touch()
    (root / "share/absolute").symlink_to(root / "share/one.txt")
    (root / "share/folder").symlink_to("../bin")
    write_export(plan_export(linked), tmp_path / "copy")
    assert os.readlink(tmp_path / "copy/share/absolute") == "one.txt"
    assert os.readlink(tmp_path / "copy/share/folder") == "../bin"
    # a copy is worth a backup
    assert not (tmp_path / "copy/CACHEDIR.TAG").exists()


def test_files_that_name_the_environment_are_named(linked: Environment) -> None:
    root = root_of(linked)
    (root / "share/kernel.json").write_text(json.dumps([str(root / "bin/python")]))
    (remark,) = plan_export(linked).remarks
    assert remark.startswith("share/kernel.json ")


def test_a_missing_entry_is_named(linked: Environment, store: Store) -> None:
    (entry,) = (store.root / "entries").glob("two-*")
    remove_tree(entry)
    with pytest.raises(NotSelfContained, match=r"two 1\.0.*repair"):
        plan_export(linked)


def test_what_was_changed_in_the_store_does_not_spread(
    linked: Environment, store: Store
) -> None:
    (entry,) = (store.root / "entries").glob("two-*")
    (entry / "tree/two.py").chmod(0o644)
    (entry / "tree/two.py").write_text("changed")
    with pytest.raises(CommonwheelError, match=r"two\.py"):
        plan_export(linked)


@pytest.mark.parametrize("damage", [b"a,b,c,d\n", b"one.py,md5\n", b"\xff\n"])
def test_a_damaged_record_is_named(linked: Environment, damage: bytes) -> None:
    path = linked.sites[0] / "real_one-1.0.dist-info/RECORD"
    path.write_bytes(damage)
    with pytest.raises(InvalidEnvironment, match=r"real_one-1\.0\.dist-info/RECORD"):
        plan_export(linked)


def test_without_bytecode_there_is_none_and_no_record_of_it(
    linked: Environment, tmp_path: Path
) -> None:
    write_export(plan_export(linked, with_bytecode=False), tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("__pycache__"))
    for path in (tmp_path / "copy" / SITE).glob("*/RECORD"):
        assert "pyc" not in path.read_text()


def test_only_a_virtual_environment_can_be_exported(
    environment: Environment, tmp_path: Path
) -> None:
    (root_of(environment) / "pyvenv.cfg").unlink()
    with pytest.raises(InvalidEnvironment, match="virtual environment"):
        plan_export(environment)


@pytest.mark.parametrize("place", ["full", "file", "inside"])
def test_nothing_is_written_over(linked: Environment, tmp_path: Path, place: str) -> None:
    target = {
        "full": tmp_path / "full",
        "file": tmp_path / "file",
        "inside": root_of(linked) / "copy",
    }[place]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/something").touch()
    (tmp_path / "file").touch()
    before = snapshot(tmp_path)
    with pytest.raises((InvalidEnvironment, FileExistsError)):
        write_export(plan_export(linked), target)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["_fill", "_add_bytecode", "rename"])
def test_whatever_stops_it_leaves_nothing(
    linked: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: bool,
    error: BaseException,
    step: str,
) -> None:
    target = tmp_path / ("deep/deeper/copy" if not there else "copy")
    if there:
        target.mkdir()
    export = plan_export(linked)
    before = snapshot(tmp_path)
    module = os if step == "rename" else exports
    real = getattr(module, step)
    calls: list[object] = []

    def fail(*given: object) -> object:
        calls.append(given)
        if len(calls) < (3 if there and step == "rename" else 1):
            return real(*given)
        if step != "rename":
            real(*given)
        raise error

    monkeypatch.setattr(module, step, fail)
    with pytest.raises(type(error)):
        write_export(export, target)
    monkeypatch.undo()
    assert snapshot(tmp_path) == before


def test_an_empty_folder_stays_the_one_that_it_was(
    linked: Environment, tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    target.mkdir(mode=0o750)
    before = target.stat().st_ino
    write_export(plan_export(linked), target)
    assert target.stat().st_ino == before
    assert (target.stat().st_mode & 0o777) == 0o750
    assert run(target / "bin/python", "-c", USE)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["copy", "--archive", "x.tar"],
        ["--destdir", "x"],
        ["--prefix", "relative"],
        ["--archive", "x.zip"],
        ["copy", "--python", "python3"],
        ["copy", "--link-mode", "manifest"],
    ],
)
def test_wrong_usage(options: list[str], environment: Environment) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", str(root_of(environment)), *options])
    assert caught.value.code == 2
