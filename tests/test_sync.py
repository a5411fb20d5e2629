"""Sync: a plan that changes nothing, and what carrying it out makes of an environment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import default_environment

from commonwheel import installed
from commonwheel.environment import Environment
from commonwheel.errors import (
    CommonwheelError,
    IncompatibleWheel,
    InvalidEnvironment,
    InvalidStore,
)
from commonwheel.install import WheelRequest, install_wheels, link_entries
from commonwheel.installation import Request
from commonwheel.lock_errors import HostFailed, MissingHash, SourceRefused, WrongFile
from commonwheel.pin import Kind, Pin
from commonwheel.store import Store
from commonwheel.sync import carry_out
from commonwheel.sync_plan import SyncPlan, plan_sync
from fake_host import FakeHost
from folders import snapshot
from wheel_file import write_wheel

COMMIT = "0123456789" * 4


@pytest.fixture
def environment(environment: Environment) -> Environment:
    tags = ("cp312-cp312-linux_x86_64", "py3-none-linux_x86_64", "py3-none-any")
    return replace(environment, tags=tags, markers=default_environment())


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """What an index has: three distributions, and two newer versions of one."""
    folder = tmp_path / "wheels"
    for name in ("one", "two", "three"):
        write_wheel(folder, {f"{name}.py": f"name = '{name}'"}, name)
    for tag in ("py3-none-any", "py3-none-linux_x86_64"):
        write_wheel(folder, {"one.py": f"tag = '{tag}'"}, "one", "2.0", tag=tag)
    return folder


@pytest.fixture
def host(wheels: Path) -> FakeHost:
    return FakeHost(wheels)


def digest(path: Path, algorithm: str = "sha256") -> tuple[str, str]:
    return algorithm, hashlib.new(algorithm, path.read_bytes()).hexdigest()


def wheel_pin(path: Path, algorithm: str = "sha256") -> Pin:
    """As an index's wheel in a ``pylock.toml``."""
    name, version, *_ = path.name.split("-")
    hashes = frozenset({digest(path, algorithm)})
    url = f"https://host/{path.name}"
    return Pin(name, version, Kind.WHEEL, path.name, url, hashes)


def index_pin(name: str, version: str = "1.0", hashes: Iterable[Path] = ()) -> Pin:
    """As ``NAME==VERSION`` in a requirements file."""
    return Pin(name, version, Kind.INDEX, hashes=frozenset(map(digest, hashes)))


SDIST = Pin(
    *("two", "1.0", Kind.SDIST, "two-1.0.tar.gz", "https://host/two-1.0.tar.gz"),
    frozenset({("sha256", "0" * 64)}),
)
VCS = Pin(
    *("two", None, Kind.VCS, None, "https://me:secret@host/two"),
    vcs="git",
    commit=COMMIT,
    requested_revision="main",
    direct=True,
)


def summary(plan: SyncPlan) -> dict[str, list[str]]:
    """The names in each part of a plan, as far as there are any."""
    parts = {
        "up_to_date": [pin.name for pin in plan.up_to_date],
        "linked": [entry.description.id[:-9] for _, entry in plan.linked],
        "fetched": [pin.name for pin in plan.fetched],
        "built": [pin.name for pin in plan.built],
        "projects": [pin.name for pin in plan.projects],
        "removed": list(plan.removed),
    }
    return {part: names for part, names in parts.items() if names}


def held(environment: Environment) -> dict[str, str]:
    """What is installed, and is linked."""
    found = installed.read(environment)
    return {name: each.version for name, (each,) in sorted(found.items()) if each.link}


# what is in the store, what is not


def test_what_is_lacking_is_fetched_once(
    environment: Environment, store: Store, host: FakeHost, wheels: Path, tmp_path: Path
) -> None:
    pins = [wheel_pin(path) for path in sorted(wheels.glob("*-1.0-*"))]
    plan = plan_sync(pins, environment, store)
    assert summary(plan) == {"fetched": ["one", "three", "two"]}
    assert not store.root.exists()
    seen: list[str] = []
    done = carry_out(plan, environment, store, host, lambda task, *_: seen.append(task))
    assert [each.name for each in done.plan.installations] == ["one", "three", "two"]
    assert [*dict.fromkeys(seen)] == ["fetching", "storing", "linking"]
    assert held(environment) == {"one": "1.0", "three": "1.0", "two": "1.0"}
    dist_info = environment.scheme.purelib / "one-1.0.dist-info"
    assert (dist_info / "REQUESTED").exists()
    assert not (dist_info / "direct_url.json").exists()

    before = snapshot(tmp_path)
    again = plan_sync(pins, environment, store)
    assert summary(again) == {"up_to_date": ["one", "three", "two"]}
    assert again.is_empty
    assert carry_out(again, environment, store, host).plan.installations == ()
    assert snapshot(tmp_path) == before
    assert host.asked == [("fetch", ["one", "three", "two"])]


def test_what_the_store_has_is_linked_without_the_host(
    environment: Environment,
    store: Store,
    wheels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pins = [wheel_pin(path) for path in sorted(wheels.glob("*-1.0-*"))]
    plan = plan_sync(pins, environment, store)
    carry_out(plan, environment, store, FakeHost(wheels))
    site = tmp_path / "another/site-packages"
    site.mkdir(parents=True)
    scheme = replace(environment.scheme, purelib=site, platlib=site)
    another = replace(environment, scheme=scheme)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    again = plan_sync(pins, another, store)
    assert summary(again) == {"linked": ["one-1.0", "three-1.0", "two-1.0"]}
    carry_out(again, another, store, FakeHost(tmp_path / "gone"))
    assert held(another) == held(environment)


def test_the_store_is_asked_by_hash_if_there_is_one(
    environment: Environment, store: Store, wheels: Path, compiler: object
) -> None:
    plain, best = sorted(wheels.glob("one-2.0*"))
    for path in (plain, best):
        store.add(path, compiler)  # type: ignore[arg-type]
    other = write_wheel(wheels / "other", {"one.py": "other"}, "one", "2.0")
    entries = {digest(p)[1]: p.name for p in (plain, best, other)}

    def chosen(pin: Pin) -> str | None:
        ((_, entry),) = plan_sync([pin], environment, store).linked or ((None, None),)
        return None if entry is None else entries[entry.description.sha256]

    assert chosen(wheel_pin(plain)) == plain.name
    assert chosen(wheel_pin(other)) is None
    assert chosen(index_pin("one", "2.0", [plain, other])) == plain.name
    assert chosen(index_pin("one", "2.0", [plain, best])) == best.name
    assert chosen(index_pin("one", "2.0", [other])) is None
    assert chosen(index_pin("one", "2")) == best.name  # the best tags
    assert chosen(index_pin("one", "1.0")) is None
    elsewhere = replace(environment, tags=("cp39-cp39-win32",))
    for pin in (index_pin("one", "2.0"), index_pin("one", "2.0", [best])):
        assert summary(plan_sync([pin], elsewhere, store)) == {"fetched": ["one"]}


def test_a_hash_of_another_version_is_a_mistake_that_the_host_is_to_find(
    environment: Environment, store: Store, wheels: Path, compiler: object
) -> None:
    newer = min(wheels.glob("one-2.0*"))
    entry = store.add(newer, compiler)  # type: ignore[arg-type]
    stale = index_pin("one", "1.0", [newer])
    assert summary(plan_sync([stale], environment, store)) == {"fetched": ["one"]}
    named = replace(wheel_pin(newer), version="1.0")
    assert summary(plan_sync([named], environment, store)) == {"fetched": ["one"]}
    # nor does it count as up to date
    link_entries([Request(entry)], environment, store)
    assert summary(plan_sync([stale], environment, store)) == {"fetched": ["one"]}


def test_a_version_without_a_local_part_allows_any(
    environment: Environment, store: Store, host: FakeHost, wheels: Path
) -> None:
    path = write_wheel(wheels, {"local.py": ""}, "local", "1.0+cpu")
    for pin in (index_pin("local"), index_pin("local", hashes=[path])):
        plan = plan_sync([pin], environment, store)
        carry_out(plan, environment, store, host)
        assert held(environment)["local"] == "1.0+cpu"
        assert summary(plan_sync([pin], environment, store)) == {"up_to_date": ["local"]}
    exactly = index_pin("local", "1.0+cuda")
    assert summary(plan_sync([exactly], environment, store)) == {"fetched": ["local"]}


def test_of_entries_with_the_same_tags_the_last_by_name_is_taken(
    environment: Environment, store: Store, tmp_path: Path, compiler: object
) -> None:
    entries = [
        store.add(write_wheel(tmp_path / text, {"x.py": text}), compiler)  # type: ignore[arg-type]
        for text in "abc"
    ]
    plan = plan_sync([index_pin("sample")], environment, store)
    ((_, chosen),) = plan.linked
    assert chosen == max(entries, key=lambda entry: entry.description.id)


def test_a_damaged_entry_is_an_error(
    environment: Environment, store: Store, wheels: Path, compiler: object
) -> None:
    path = next(wheels.glob("two*"))
    entry = store.add(path, compiler)  # type: ignore[arg-type]
    (entry.root / "entry.json").chmod(0o644)
    (entry.root / "entry.json").write_text("{")
    with pytest.raises(InvalidStore, match=r"two-1\.0"):
        plan_sync([wheel_pin(path)], environment, store)


# what counts as up to date


@pytest.mark.parametrize("kind", ["by hash", "by version", "by other hash"])
def test_what_is_linked_to_the_named_wheel_stays(
    environment: Environment, store: Store, host: FakeHost, wheels: Path, kind: str
) -> None:
    path = next(wheels.glob("two*"))
    pin = {
        "by hash": wheel_pin(path),
        "by version": index_pin("two", "1"),
        "by other hash": wheel_pin(path, "sha512"),
    }[kind]
    carry_out(plan_sync([pin], environment, store), environment, store, host)
    plan = plan_sync([pin], environment, store)
    assert summary(plan) == {"up_to_date": ["two"]}
    entry = next((store.root / "entries").iterdir())
    hidden = entry.rename(store.root / "hidden")
    lost = plan_sync([pin], environment, store)
    assert summary(lost) == {"fetched": ["two"]}
    assert lost.present == {"two": "1.0"}
    hidden.rename(entry)
    carry_out(lost, environment, store, host)
    assert summary(plan_sync([pin], environment, store)) == {"up_to_date": ["two"]}


def test_the_same_version_from_elsewhere_is_replaced(
    environment: Environment, store: Store, host: FakeHost, wheels: Path, tmp_path: Path
) -> None:
    path = next(wheels.glob("two*"))
    site = environment.scheme.purelib
    dist_info = site / "two-1.0.dist-info"
    dist_info.mkdir()
    (site / "two.py").write_text("copied")
    (dist_info / "RECORD").write_text("two.py,,\ntwo-1.0.dist-info/RECORD,,\n")
    for pin in (wheel_pin(path), index_pin("two")):
        plan = plan_sync([pin], environment, store)
        assert (summary(plan), plan.present) == ({"fetched": ["two"]}, {"two": "1.0"})
    carry_out(plan, environment, store, host)
    assert held(environment) == {"two": "1.0"}
    assert not (site / "two.py").exists()

    other = write_wheel(tmp_path, {"two.py": "other"}, "two")
    install_wheels([WheelRequest(other)], environment, store)
    plan = plan_sync([wheel_pin(path)], environment, store)
    assert summary(plan) == {"linked": ["two-1.0"]}

    install_wheels([WheelRequest(path, direct_url="{}")], environment, store)
    for pin in (wheel_pin(path), index_pin("two")):
        # it came from a URL, which nobody says now
        assert "linked" in summary(plan_sync([pin], environment, store))


# what goes


def test_what_is_not_named_goes_in_the_same_step(
    environment: Environment, store: Store, host: FakeHost, wheels: Path
) -> None:
    one, two = (next(wheels.glob(f"{name}-1.0*")) for name in ("one", "two"))
    clash = write_wheel(wheels / "x", {"one/__init__.py": ""}, "clash")
    install_wheels([WheelRequest(clash), WheelRequest(two)], environment, store)
    plan = plan_sync([wheel_pin(one)], environment, store)
    assert summary(plan) == {"fetched": ["one"], "removed": ["clash", "two"]}
    assert plan.present == {"clash": "1.0", "two": "1.0"}
    done = carry_out(plan, environment, store, host)
    assert sorted(each.name for each in done.plan.removals) == ["clash", "two"]
    assert held(environment) == {"one": "1.0"}
    inexact = plan_sync([wheel_pin(two)], environment, store, inexact=True)
    assert summary(inexact) == {"linked": ["two-1.0"]}
    empty = plan_sync([], environment, store)
    carry_out(empty, environment, store, host)
    assert held(environment) == {}


def test_what_mends_an_environment_is_neither_removed_nor_linked(
    environment: Environment, store: Store, wheels: Path
) -> None:
    site = environment.scheme.purelib
    for name, requires in (("pip", ""), ("commonwheel", "one"), ("one", "")):
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir()
        metadata = f"Name: {name}\nVersion: 1.0\n"
        (folder / "METADATA").write_text(
            metadata + (f"Requires-Dist: {requires}\n" if requires else "")
        )
        (folder / "RECORD").touch()
    one = next(wheels.glob("one-1.0*"))
    newer = next(wheels.glob("one-2.0*"))
    assert plan_sync([], environment, store).is_empty
    plan = plan_sync([wheel_pin(one)], environment, store)
    assert summary(plan) == {"up_to_date": ["one"]}
    plan = plan_sync([wheel_pin(newer)], environment, store)
    assert summary(plan) == {"projects": ["one"]}


def test_what_cannot_be_removed_is_said_before_anything_changes(
    environment: Environment, store: Store, wheels: Path
) -> None:
    link = environment.scheme.purelib / "old.egg-link"
    link.touch()
    with pytest.raises(InvalidEnvironment, match=r"old\.egg-link has no RECORD"):
        plan_sync([], environment, store)
    assert plan_sync([], environment, store, inexact=True).is_empty
    pin = replace(index_pin("old"), name="old")
    with pytest.raises(InvalidEnvironment, match=r"old\.egg-link has no RECORD"):
        plan_sync([pin], environment, store, inexact=True)


# where a wheel comes from


def test_a_wheel_on_this_machine_needs_no_host(
    environment: Environment, store: Store, host: FakeHost, wheels: Path
) -> None:
    path = next(wheels.glob("two*"))
    pin = Pin("two", "1.0", Kind.WHEEL, path.name, str(path), direct=True)
    plan = plan_sync([pin], environment, store)
    assert summary(plan) == {"fetched": ["two"]}
    carry_out(plan, environment, store, host)
    assert host.asked == []
    ((found,),) = installed.read(environment).values()
    sha256 = digest(path)[1]
    assert found.direct_url == {
        "url": path.as_uri(),
        "archive_info": {"hash": f"sha256={sha256}", "hashes": {"sha256": sha256}},
    }
    assert plan_sync([pin], environment, store).is_empty
    write_wheel(wheels, {"two.py": "changed"}, "two")
    plan = plan_sync([pin], environment, store)
    assert summary(plan) == {"fetched": ["two"]}
    path.unlink()
    with pytest.raises(FileNotFoundError):
        plan_sync([pin], environment, store)


def test_a_wheel_named_by_url_says_so(
    environment: Environment, store: Store, host: FakeHost, wheels: Path
) -> None:
    path = next(wheels.glob("two*"))
    url = f"https://me:secret@host/{path.name}"
    pin = Pin("two", "1.0", Kind.WHEEL, path.name, url, direct=True)
    for _ in range(2):
        plan = plan_sync([pin], environment, store)
        carry_out(plan, environment, store, host)
    assert len(host.asked) == 1
    ((found,),) = installed.read(environment).values()
    assert found.direct_url is not None
    assert found.direct_url["url"] == f"https://host/{path.name}"
    foreign = replace(pin, filename="two-1.0-cp27-none-win32.whl")
    foreign = replace(foreign, location=f"https://host/{foreign.filename}")
    with pytest.raises(IncompatibleWheel, match="cp27-none-win32"):
        plan_sync([foreign], environment, store)


# what has to be built


@pytest.mark.parametrize("pin", [SDIST, VCS], ids=lambda pin: pin.kind.value)
def test_a_source_is_built_once_if_that_is_allowed(
    environment: Environment, store: Store, host: FakeHost, tmp_path: Path, pin: Pin
) -> None:
    before = snapshot(tmp_path)
    with pytest.raises(SourceRefused, match="--allow-sdist") as caught:
        plan_sync([pin], environment, store)
    assert "secret" not in str(caught.value)
    assert snapshot(tmp_path) == before
    plan = plan_sync([pin], environment, store, allow_sdist=True)
    assert summary(plan) == {"built": ["two"]}
    carry_out(plan, environment, store, host)
    assert summary(plan_sync([pin], environment, store)) == {"up_to_date": ["two"]}
    ((found,),) = installed.read(environment).values()
    if pin is VCS:
        info = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}
        assert found.direct_url == {"url": "https://host/two", "vcs_info": info}
    else:
        assert found.direct_url is None
    carry_out(plan_sync([], environment, store), environment, store, host)
    # what was built is in the store now: nothing has to be run
    fresh = Store(store.root)
    assert summary(plan_sync([pin], environment, fresh)) == {"linked": ["two-1.0"]}
    another = replace(environment, cache_tag="cpython-399")
    with pytest.raises(SourceRefused):
        plan_sync([pin], another, fresh)
    other = replace(pin, commit="f" * 40, hashes=frozenset({("sha256", "1" * 64)}))
    with pytest.raises(SourceRefused):
        plan_sync([other], environment, fresh)


def test_what_an_index_may_have_as_source_only_is_asked_for_as_either(
    environment: Environment, store: Store, host: FakeHost
) -> None:
    hashes = frozenset({("sha256", "0" * 64)})  # of the source
    pin = replace(index_pin("two"), hashes=hashes)
    plan = plan_sync([pin], environment, store, allow_sdist=True)
    assert summary(plan) == {"fetched": ["two"]}
    carry_out(plan, environment, store, host)
    assert host.asked == [("build", ["two"])]
    assert plan_sync([pin], environment, Store(store.root)).is_empty


# what the host installs by itself


def test_projects_are_left_to_the_host_after_the_links(
    environment: Environment, store: Store, host: FakeHost, wheels: Path, tmp_path: Path
) -> None:
    project = Pin("p", None, Kind.DIRECTORY, location=str(tmp_path / "p"), direct=True)
    editable = replace(project, name="e", editable=True)
    two = wheel_pin(next(wheels.glob("two*")))
    plan = plan_sync([project, two, editable], environment, store)
    assert summary(plan) == {"fetched": ["two"], "projects": ["p", "e"]}
    carry_out(plan, environment, store, host)
    assert host.asked == [("fetch", ["two"]), ("install", ["p", "e"])]
    assert held(environment) == {"two": "1.0"}


def test_an_editable_project_stays_as_long_as_it_says_the_same_of_itself(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "a project"
    folder.mkdir()
    described = folder / "pyproject.toml"
    described.touch()
    pin = Pin(*("p", None, Kind.DIRECTORY, None, str(folder)), direct=True, editable=True)
    dist_info = environment.scheme.purelib / "p-1.dist-info"
    dist_info.mkdir()
    (dist_info / "RECORD").touch()
    url: dict[str, object] = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    (dist_info / "direct_url.json").write_text(json.dumps(url))
    os.utime(described, (1, 1))
    assert summary(plan_sync([pin], environment, store)) == {"up_to_date": ["p"]}
    to_do = {"projects": ["p"]}
    copied = replace(pin, editable=False)
    assert summary(plan_sync([copied], environment, store)) == to_do
    moved = replace(pin, location=str(tmp_path))
    assert summary(plan_sync([moved], environment, store)) == to_do
    os.utime(described)
    os.utime(dist_info, (1, 1))
    assert summary(plan_sync([pin], environment, store)) == to_do


# what goes wrong


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_another_file_than_the_lock_names_is_refused(
    environment: Environment,
    store: Store,
    host: FakeHost,
    wheels: Path,
    algorithm: str,
) -> None:
    path = next(wheels.glob("two*"))
    pins = [wheel_pin(path, algorithm), wheel_pin(next(wheels.glob("one-1.0*")))]
    plan = plan_sync(pins, environment, store)
    wanted = digest(path, algorithm)[1]
    write_wheel(wheels, {"two.py": "tampered with"}, "two")
    before = snapshot(environment.scheme.data)
    with pytest.raises(WrongFile, match=f"two 1.0 .* not {wanted}"):
        carry_out(plan, environment, store, host)
    assert snapshot(environment.scheme.data) == before
    assert not list(store.root.glob("entries/two*"))


def test_another_distribution_than_the_lock_names_is_refused(
    environment: Environment, store: Store, host: FakeHost, wheels: Path
) -> None:
    three = next(wheels.glob("three*"))
    for pin, said in (
        (replace(wheel_pin(three), name="two"), "is a wheel of three 1.0"),
        (replace(wheel_pin(three), version="2"), "is a wheel of three 1.0"),
    ):
        plan = plan_sync([pin], environment, store)
        with pytest.raises((WrongFile, KeyError), match=said):
            carry_out(plan, environment, store, host)


def test_hashes_can_be_required(
    environment: Environment, store: Store, wheels: Path, tmp_path: Path
) -> None:
    path = next(wheels.glob("two*"))
    here = Pin("two", "1.0", Kind.WHEEL, path.name, str(path), direct=True)
    folder = Pin("p", None, Kind.DIRECTORY, location=str(tmp_path), direct=True)
    for pin, said in (
        (index_pin("two"), "no hash"),
        (here, "no hash"),
        (VCS, "a repository, which has no hash"),
        (folder, "a folder, which has no hash"),
    ):
        with pytest.raises(MissingHash, match=f"{pin} .*{said}"):
            plan_sync([pin], environment, store, require_hashes=True)
    pins = [wheel_pin(path)]
    assert plan_sync(pins, environment, store, require_hashes=True).fetched == (*pins,)


@pytest.mark.parametrize(
    "error", [HostFailed("fake", "fetch", "no network"), KeyboardInterrupt()]
)
def test_a_host_that_fails_changes_nothing(
    environment: Environment,
    store: Store,
    host: FakeHost,
    wheels: Path,
    error: BaseException,
) -> None:
    install_wheels([WheelRequest(next(wheels.glob("one-1*")))], environment, store)
    before = snapshot(environment.scheme.data)
    plan = plan_sync([wheel_pin(next(wheels.glob("two*")))], environment, store)
    host.error = error
    with pytest.raises(type(error)) as caught:
        carry_out(plan, environment, store, host)
    assert caught.value is error
    assert snapshot(environment.scheme.data) == before


@pytest.mark.parametrize(
    "error", [HostFailed("fake", "install p", "broken"), KeyboardInterrupt()]
)
def test_a_project_that_fails_leaves_the_rest_in_place_and_says_so(
    environment: Environment,
    store: Store,
    host: FakeHost,
    wheels: Path,
    error: BaseException,
) -> None:
    project = Pin("p", None, Kind.DIRECTORY, location="/p", direct=True)
    path = next(wheels.glob("two*"))
    install_wheels([WheelRequest(path)], environment, store)
    plan = plan_sync([wheel_pin(path), project], environment, store)
    host.error = error
    with pytest.raises(CommonwheelError, match="all else that the lock names is in"):
        carry_out(plan, environment, store, host)
    assert held(environment) == {"two": "1.0"}
