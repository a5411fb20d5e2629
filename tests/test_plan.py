"""Plans: what is going to change, and what must not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel import manifest, runtime
from commonwheel.apply import apply, changing
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import DuplicateRequest, InvalidEnvironment
from commonwheel.installation import Request
from commonwheel.link_mode import LinkMode
from commonwheel.plan import Plan, plan_links, plan_removal
from conftest import make_environment
from entries import make_entry, write
from folders import shown, snapshot


def install(environment: Environment, *entries: Entry) -> Plan:
    with changing(environment):
        plan = plan_links([Request(entry) for entry in entries], environment)
        apply(plan, environment)
    return plan


def uninstall(environment: Environment, name: str) -> None:
    with changing(environment):
        apply(plan_removal([name], environment), environment)


def install_copied(site: Path, name: str, rows: list[str]) -> None:
    """A distribution as other installers leave it, with any rows in its RECORD."""
    rows = [*rows, f"{name}-1.0.dist-info/RECORD"]
    text = "".join(f'"{row}",,\n' for row in rows)
    write(site / f"{name}-1.0.dist-info", {"RECORD": text, "METADATA": ""})


def test_planning_writes_nothing_and_is_deterministic(
    environment: Environment, tmp_path: Path
) -> None:
    one = make_entry(tmp_path / "store", "one", {"p/__init__.py": "", "p/q/x.py": ""})
    two = make_entry(
        tmp_path / "store",
        "two",
        {"p/two.py": "", "p/q/y.py": "", "two.pth": ""},
        scripts={"two": "p.two:main"},
        data={"share/two": ""},
    )
    install(environment, one)
    before = snapshot(tmp_path)
    plans = [
        plan_links([Request(two), Request(one)], environment),
        plan_links([Request(two), Request(one)], environment),
    ]
    plan_removal(["one"], environment)
    assert plans[0] == plans[1]
    assert snapshot(tmp_path) == before


def test_a_distribution_can_be_asked_for_once(
    environment: Environment, tmp_path: Path
) -> None:
    requests = [
        Request(make_entry(tmp_path, "one", {"one.py": ""}, version))
        for version in ("1.0", "2.0")
    ]
    with pytest.raises(DuplicateRequest, match="one is asked for more than once: one-1"):
        plan_links(requests, environment)


def test_a_copied_distribution_is_replaced(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    files = {"one/__init__.py": "", "one/__pycache__/__init__.cpython-311.pyc": ""}
    write(site, {**files, "one/sub/deep/x.txt": ""})
    write(environment.scheme.scripts, {"old": "", "other": ""})
    rows = [*files, "one/sub/deep/x.txt", "../../bin/old", "one/gone.py"]
    install_copied(site, "one", rows)
    install(environment, make_entry(tmp_path, "one", {"one/__init__.py": ""}, "2.0"))
    assert not (site / "one").exists()
    assert not (site / "one-1.0.dist-info").exists()
    assert [path.name for path in environment.scheme.scripts.iterdir()] == ["other"]


def test_rows_never_lead_out_of_the_environment_nor_through_a_link(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    write(outside, {"precious": "", "folder/precious": ""})
    (site / "link").symlink_to(outside / "folder")
    up = "/".join([".."] * 40)
    rows = [
        str(outside / "precious"),
        f"{up}{outside}/precious",
        "../../../outside/precious",
        "link/precious",
        "one/../link/precious",
        "../../../environment/../outside/precious",
    ]
    install_copied(site, "one", rows)
    before = snapshot(outside)
    uninstall(environment, "one")
    assert snapshot(outside) == before
    assert not (site / "one-1.0.dist-info").exists()


def test_a_row_may_be_a_link_itself(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    write(tmp_path / "outside", {"precious": ""})
    (site / "link").symlink_to(tmp_path / "outside")
    install_copied(site, "one", ["link"])
    uninstall(environment, "one")
    assert not (site / "link").is_symlink()
    assert (tmp_path / "outside/precious").exists()


@pytest.mark.parametrize(
    "metadata", ["one-1.0.dist-info/METADATA", "one-1.0-py3.11.egg-info/PKG-INFO"]
)
def test_what_has_no_record_is_not_replaced(
    environment: Environment, site: Path, tmp_path: Path, metadata: str
) -> None:
    write(site, {metadata: ""})
    with pytest.raises(InvalidEnvironment, match=r"no (readable )?RECORD"):
        install(environment, make_entry(tmp_path, "one", {"one.py": ""}))


@pytest.mark.parametrize("place", ["lib/site-packages/_commonwheel/view/v", "leaving"])
def test_files_are_not_written_through_links(
    environment: Environment, site: Path, tmp_path: Path, place: str
) -> None:
    victim = make_entry(tmp_path / "store", "victim", {"v/__init__.py": ""})
    install(environment, victim)
    (environment.scheme.data / "leaving").symlink_to(tmp_path)
    before = snapshot(tmp_path)
    data = {f"{place}/evil.py": ""}
    attack = make_entry(tmp_path / "other", "attack", {"a.py": ""}, data=data)
    with pytest.raises(InvalidEnvironment, match="attack has files for"):
        install(environment, attack)
    assert snapshot(tmp_path, without=("other",)) == before


def test_two_site_packages_folders(environment: Environment, tmp_path: Path) -> None:
    platlib = environment.scheme.data / "lib64/site-packages"
    platlib.mkdir(parents=True)
    scheme = replace(environment.scheme, platlib=platlib)
    environment = replace(environment, scheme=scheme)
    pure = make_entry(tmp_path, "pure", {"pure.py": ""})
    plat = make_entry(tmp_path, "plat", {"plat.py": ""}, purelib=False)
    install(environment, plat)
    install(environment, pure)
    assert shown(scheme.purelib / manifest.VIEW) == {"pure.py": ""}
    assert shown(platlib / manifest.VIEW) == {"plat.py": ""}
    # a version that belongs into the other folder
    install(environment, make_entry(tmp_path, "plat", {"plat.py": "2"}, "2.0"))
    assert shown(platlib / manifest.VIEW) == {}
    assert shown(scheme.purelib / manifest.VIEW) == {"pure.py": "", "plat.py": "2"}


def test_two_names_of_one_site_packages_folder(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    root = environment.scheme.data
    (root / "lib64").symlink_to("lib")
    scheme = replace(environment.scheme, platlib=root / "lib64/site-packages")
    environment = replace(environment, scheme=scheme)
    for version in ("1.0", "2.0"):
        files = {"p/__init__.py": version}
        install(environment, make_entry(tmp_path, "p", files, version, purelib=False))
    assert shown(site / manifest.VIEW) == {"p/__init__.py": "2.0"}


@pytest.mark.parametrize(
    "folder", ["plain", "with space", "naïve 包", "line\nbreak", "back\\slash", "a,\"b'"]
)
@pytest.mark.parametrize("linked", [False, True], ids=["direct", "through a link"])
def test_wherever_the_environment_is(tmp_path: Path, folder: str, linked: bool) -> None:
    root = tmp_path / folder
    if linked:
        (tmp_path / "real").mkdir()
        root.symlink_to(tmp_path / "real")
    environment = make_environment(root)
    site = environment.scheme.purelib
    other = make_entry(tmp_path / "store", "other", {"p/other.py": ""})
    for version in ("1.0", "2.0"):
        entry = make_entry(
            tmp_path / "store",
            "one",
            {"p/__init__.py": version},
            version,
            scripts={"one": "p:main"},
        )
        install(environment, entry, other)
        expected = {"p/__init__.py": version, "p/other.py": ""}
        assert shown(site / manifest.VIEW) == expected
        assert (root / "bin/one").exists()
    uninstall(environment, "one")
    assert shown(site / manifest.VIEW) == {"p/other.py": ""}
    assert not (root / "bin/one").exists()


def test_symlinked_site_packages(environment: Environment, tmp_path: Path) -> None:
    site = environment.scheme.purelib
    site.rmdir()
    (tmp_path / "far/away").mkdir(parents=True)
    site.symlink_to(tmp_path / "far/away")
    for version in ("1.0", "2.0"):
        scripts = {f"one{version}": "p:main"}
        files = {"p/__init__.py": version}
        install(environment, make_entry(tmp_path, "p", files, version, scripts=scripts))
    assert shown(site / manifest.VIEW) == {"p/__init__.py": "2.0"}
    assert [path.name for path in environment.scheme.scripts.iterdir()] == ["one2.0"]


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    store = Path(f"{tmp_path}/store\udcff")
    environment = make_environment(Path(f"{tmp_path}/environment\udcff"))
    install(environment, make_entry(store, "one", {"p/__init__.py": "1"}))
    install(environment, make_entry(store, "two", {"p/two.py": "2"}))
    site = environment.scheme.purelib
    assert shown(site / manifest.VIEW) == {"p/__init__.py": "1", "p/two.py": "2"}


def test_a_wrapper_in_the_wheel_gives_way_to_its_entry_point(
    environment: Environment, tmp_path: Path
) -> None:
    entry = make_entry(
        tmp_path,
        "one",
        {"one.py": ""},
        scripts={"tool": "one:main"},
        script_files={"tool": "#!python\nold", "tool-script.py": "", "own": "#!python\n"},
    )
    install(environment, entry)
    scripts = environment.scheme.scripts
    assert sorted(path.name for path in scripts.iterdir()) == ["own", "tool"]
    assert "from one import main" in (scripts / "tool").read_text()


def test_pip_is_there_under_the_number_of_the_environments_python(
    environment: Environment, tmp_path: Path
) -> None:
    environment = replace(environment, version="3.12.7")
    built_by_another = ("pip", "pip3", "pip3.10", "pipx")
    scripts = dict.fromkeys(built_by_another, "pip:main")
    install(environment, make_entry(tmp_path, "pip", {"pip.py": ""}, scripts=scripts))
    written = sorted(path.name for path in environment.scheme.scripts.iterdir())
    assert written == ["pip", "pip3", "pip3.12", "pipx"]


def test_damaged_manifests_are_named(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    one = make_entry(tmp_path, "one", {"p/__init__.py": ""})
    install(environment, one)
    (site / manifest.path_of("one")).write_bytes(b"")
    with pytest.raises(InvalidEnvironment, match=r"one\.link: .*; reinstall it"):
        install(environment, make_entry(tmp_path, "two", {"p/two.py": ""}))
    install(environment, one)
    install(environment, make_entry(tmp_path, "two", {"p/two.py": ""}))


def test_bytecode_of_another_runtime_does_not_stay(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    one = make_entry(tmp_path, "one", {"one.py": ""})
    place = site / runtime.bytecode_name(environment.cache_tag)
    for bytecode in (b"old", b"new", b""):
        with changing(environment):
            plan = plan_links([Request(one)], environment, runtime_bytecode=bytecode)
            apply(plan, environment)
        assert (place.read_bytes() if place.exists() else b"") == bytecode


def test_what_somebody_else_removes_meanwhile_is_not_there(
    environment: Environment, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever plans to see what cannot be done does not keep others away."""
    install_copied(site, "there", ["there.py"])
    found = [*os.listdir(site), "gone-1.0.dist-info"]
    monkeypatch.setattr(os, "listdir", lambda _: found)
    plan = plan_removal(["gone", "there"], environment)
    assert [each.name for each in plan.removals] == ["there"]


def test_what_is_removed_at_the_same_time_is_no_conflict(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    install(environment, make_entry(tmp_path, "old", {"p/__init__.py": ""}))
    install_copied(site, "copied", ["copied.py"])
    new = make_entry(tmp_path, "new", {"p.py": "new"})
    with changing(environment):
        plan = plan_links([Request(new)], environment, removed=["copied", "old", "none"])
        apply(plan, environment)
    assert sorted(each.name for each in plan.removals) == ["copied", "old"]
    assert shown(site / manifest.VIEW) == {"p.py": "new"}
    assert not list(site.glob("copied*"))


def test_uninstalling_a_linked_one_leaves_real_files_of_the_same_name(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    one = make_entry(tmp_path, "one", {"p/__init__.py": "one", "p/one.py": ""})
    two = make_entry(tmp_path, "two", {"p/__init__.py": "two", "p/two.py": ""})
    install(environment, one)
    with changing(environment):
        plan = plan_links([Request(two, mode=LinkMode.COPY)], environment)
        apply(plan, environment)
    uninstall(environment, "one")
    assert (site / "p/__init__.py").read_text() == "two"
    install(environment, one)
    uninstall(environment, "two")
    assert not (site / "p/two.py").exists()
