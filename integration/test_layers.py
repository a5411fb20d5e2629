"""Layers and teams: stores that several users have, each with a root of their own or not.

The users live in a root filesystem with a Python, commonwheel and little else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from environments import Environment
from filesystems import Mounts, mounts, require
from root_filesystem import RootFilesystem
from wheelhouse import Sample, write_wheel

Completed = subprocess.CompletedProcess[str]

TEAM = 20100
"""The number of a group."""
PROGRAM = "/opt/commonwheel/bin/commonwheel"


@dataclass(frozen=True)
class User:
    """Somebody in a root filesystem."""

    root: RootFilesystem
    number: int
    stores: tuple[str, ...]

    @property
    def home(self) -> str:
        return f"/home/{self.number}"

    @property
    def own(self) -> Path:
        """The user's own store, seen from outside."""
        return self.root.folder / self.home[1:] / "own"

    def run(self, *command: object, check: bool = True, umask: str = "022") -> Completed:
        variables = {"HOME": self.home, "COMMONWHEEL_STORE": ":".join(self.stores)}
        shell = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
        user = f"{self.number}:{TEAM}"
        return self.root.run(
            *shell, *command, check=check, user=user, variables=variables
        )

    def commonwheel(self, *arguments: object, **options: str) -> str:
        return self.run(PROGRAM, *arguments, **options).stdout

    def environment(self, name: str) -> str:
        path = f"{self.home}/{name}"
        self.run(self.root.python, "-m", "venv", "--without-pip", path)
        return path

    def entries(self, environment: str) -> set[str]:
        """The folders of the stores that an environment's distributions come from."""
        told = json.loads(self.commonwheel("status", "--json", environment))
        assert all(each["present"] for each in told["linked"])
        return {os.path.dirname(each["entry"]) for each in told["linked"]}

    def can_write(self, path: str) -> bool:
        return self.run("touch", f"{path}/mine", check=False).returncode == 0


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, host: Environment, python: Path
) -> RootFilesystem:
    require("a root filesystem", "ldd")
    made = RootFilesystem.make(tmp_path_factory.mktemp("template") / "root", python)
    made.add_tools()
    program = host.path / "bin/commonwheel"
    target = made.folder / "opt/commonwheel"
    host.run(program, "export", host.path, target, "--python", made.python)
    return made


@pytest.fixture
def root(template: RootFilesystem, tmp_path: Path) -> RootFilesystem:
    """A root filesystem; what does not change in it is the same files as in others."""
    shutil.copytree(
        template.folder, tmp_path / "root", symlinks=True, copy_function=_link
    )
    return RootFilesystem(tmp_path / "root", template.python)


def _link(source: str, target: str, *, follow_symlinks: bool = True) -> None:
    if source.endswith("/dev/null"):
        shutil.copy2(source, target)
    else:
        os.link(source, target, follow_symlinks=False)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounts]:
    (tmp_path / "mounts").mkdir()
    with mounts(tmp_path / "mounts") as made:
        yield made


def someone(root: RootFilesystem, number: int, *below: str) -> User:
    home = root.folder / f"home/{number}"
    home.mkdir(parents=True)
    os.chown(home, number, TEAM)
    return User(root, number, (f"/home/{number}/own", *below))


def bring(root: RootFilesystem, wheels: Sequence[Path]) -> list[str]:
    (root.folder / "wheels").mkdir(exist_ok=True)
    for wheel in wheels:
        shutil.copy2(wheel, root.folder / "wheels")
    return [f"/wheels/{wheel.name}" for wheel in wheels]


def layer_of(
    host: Environment, python: Path, wheels: Sequence[Path], target: Path
) -> Path:
    """A layer that holds what is in ``wheels``, made by an environment of them."""
    folder = target.parent / f"{target.name}-made"
    host.run(python, "-m", "venv", "--without-pip", folder / "env")
    program = host.path / "bin/commonwheel"
    store = ("--store", folder / "store")
    host.run(program, "install", *store, "--python", folder / "env", *wheels)
    host.run(program, "layer", *store, folder / "env", target)
    return target


@pytest.mark.parametrize("kind", ["squashfs", "erofs"])
def test_ask_11_users_share_mounted_layers_that_have_several_versions(
    host: Environment,
    root: RootFilesystem,
    python: Path,
    sample: Sample,
    mounted: Mounts,
    tmp_path: Path,
    kind: str,
) -> None:
    old, new = (sorted(sample.folder.glob(f"*-{v}-*.whl")) for v in ("1.0", "2.0"))
    places = []
    images = {}
    for name, wheels in (("old", old), ("new", new)):
        image = layer_of(host, python, wheels, tmp_path / f"{name}.{kind}")
        images[image] = hashlib.sha256(image.read_bytes()).hexdigest()
        mounted.mount_image(image, at=root.folder / f"mnt-{name}")
        places.append(f"/mnt-{name}")
    extra = write_wheel(tmp_path / "extra", "extra", "1.0", {"extra.py": "x = 1\n"})
    given = bring(root, [*old, *new, extra])
    lines = []
    for wheel in new:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    (root.folder / "wheels/requirements.txt").write_text("".join(lines))
    for user in (someone(root, number, *places) for number in (20001, 20002)):
        by_install = user.environment("by-install")
        wanted = [path for path in given if "-2.0-" not in path]
        user.commonwheel("install", "--python", by_install, *wanted)
        assert user.entries(by_install) == {
            "/mnt-old/entries",
            f"{user.home}/own/entries",
        }
        # no wheel is read, no index asked
        by_sync = user.environment("by-sync")
        user.commonwheel("sync", "--python", by_sync, "/wheels/requirements.txt")
        assert user.entries(by_sync) == {"/mnt-new/entries"}
        by_pip = user.environment("by-pip")
        options = ("--no-index", "--find-links", "/wheels", "--use-shared-store")
        pip = ("/opt/commonwheel/bin/python", "-m", "pip", "--python", by_pip)
        user.run(*pip, "install", *options, "sample-pure==1.0", "sample-data")
        assert user.entries(by_pip) == {"/mnt-old/entries", "/mnt-new/entries"}
        for environment, version in ((by_install, "1.0"), (by_sync, "2.0")):
            said = user.run(f"{environment}/bin/python", "-c", sample.imports).stdout
            assert set(json.loads(said)) == {version}
        for environment in (by_install, by_sync, by_pip):
            user.commonwheel("doctor", environment)
        # only what the layers do not have is the user's own
        assert [each.partition("-")[0] for each in os.listdir(user.own / "entries")] == [
            "extra"
        ]
        assert not any(user.can_write(each) for each in places)
        assert not user.can_write(f"{places[0]}/entries")
    # root may not either, and nobody is registered there
    assert not os.access(root.folder / "mnt-old", os.W_OK)
    assert {path.name for path in (root.folder / "mnt-old").iterdir()} == {
        *("entries", "format", "runtime", "sizes")
    }
    for image, digest in images.items():
        assert hashlib.sha256(image.read_bytes()).hexdigest() == digest


def inodes(folder: Path) -> int:
    """Files, links and folders, with whatever bytecode there is."""
    return 1 + sum(len(f) + len(names) for _, f, names in os.walk(folder))


def test_ask_18_a_few_files_a_distribution(
    host: Environment,
    root: RootFilesystem,
    python: Path,
    mounted: Mounts,
    tmp_path: Path,
) -> None:
    number, size = 10, 100
    wheels = [
        write_wheel(
            tmp_path / "wheels",
            f"many{each}",
            "1.0",
            {f"many{each}/part{n}.py": "" for n in range(size)},
        )
        for each in range(number)
    ]
    image = layer_of(host, python, wheels, tmp_path / "layer.squashfs")
    mounted.mount_image(image, at=root.folder / "mnt")
    user = someone(root, 20001, "/mnt")
    environments = {}
    for mode in ("manifest", "copy"):
        path = user.environment(mode)
        folder = root.folder / path[1:]
        before = inodes(folder)
        given = bring(root, wheels)
        user.commonwheel("install", "--link-mode", mode, "--python", path, *given)
        environments[mode] = inodes(folder) - before
    own = inodes(user.own)
    print(
        f"inodes of {number} distributions of {size} files: {environments}, store {own}"
    )
    assert environments["copy"] > number * size * 2
    assert environments["manifest"] <= number * 10 + 10
    # the layer is one file, and the user's own store has nothing but its folders
    assert own < 20


def test_ask_10_a_store_that_somebody_may_not_read(
    root: RootFilesystem, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path / "wheels", "thing", "1.0", {"thing.py": "x = 1\n"})
    owner, other = someone(root, 20001), someone(root, 20002)
    path = owner.environment("env")
    owner.commonwheel("install", "--python", path, *bring(root, [wheel]))
    assert owner.own.stat().st_mode & 0o777 == 0o700
    done = other.run(f"{path}/bin/python", "-c", "import thing", check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "thing 1.0" in last
    assert f"{owner.home}/own/entries/thing-1.0-" in last
    done = other.run(PROGRAM, "doctor", path, check=False)
    assert done.returncode == 1
    assert "thing 1.0" in done.stdout
    assert f"give this user read access to {owner.home}/own" in done.stdout


def test_ask_10_a_team_has_one_store(root: RootFilesystem, tmp_path: Path) -> None:
    wheels = [
        write_wheel(
            tmp_path / "wheels", name, "1.0", {f"{name}/__init__.py": f"x = '{name}'\n"}
        )
        for name in ("first", "second", "third")
    ]
    given = bring(root, wheels)
    store = root.folder / "srv/store"
    store.mkdir(parents=True)
    os.chown(store, 0, TEAM)
    store.chmod(0o3775)
    numbers = (20001, 20002, 20003)
    team = [replace(someone(root, each), stores=("/srv/store",)) for each in numbers]
    # whatever their umask is: nobody else may read, the group may write
    umasks = ("077", "002", "022")
    for user, umask, wheel in zip(team, umasks, given, strict=True):
        path = user.environment("env")
        user.commonwheel("install", "--python", path, wheel, umask=umask)
    for user, umask in zip(team, umasks, strict=True):
        path = f"{user.home}/env"
        user.commonwheel("install", "--python", path, *given, umask=umask)
        code = "import first, second, third; print(first.x, second.x, third.x)"
        said = user.run(f"{path}/bin/python", "-c", code).stdout
        assert said == "first second third\n"
        user.commonwheel("doctor", path)
    entries = list((store / "entries").iterdir())
    assert len(entries) == 3
    assert {each.stat().st_uid for each in entries} == {20001, 20002, 20003}
    assert {each.stat().st_gid for each in entries} == {TEAM}
    first = next(each for each in entries if each.name.startswith("first-"))
    there = f"/srv/store/entries/{first.name}"
    stranger = team[1]
    assert not stranger.can_write(there)
    assert not stranger.can_write(f"{there}/tree/first")
    moved = stranger.run("mv", there, f"{there}-mine", check=False)
    assert moved.returncode != 0
    outsider = ("touch", "/srv/store/entries/mine")
    assert root.run(*outsider, user="30000:30000", check=False).returncode != 0
    # without the sticky bit one could rename what is another's
    store.chmod(0o2775)
    done = stranger.run(PROGRAM, "verify", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "chmod 3775 /srv/store" in done.stderr


def test_it_takes_no_superuser(root: RootFilesystem, tmp_path: Path) -> None:
    wheel = write_wheel(
        tmp_path / "wheels", "thing", "1.0", {"thing/__init__.py": "x = 1\n"}
    )
    user = someone(root, 20001)
    path = user.environment("env")
    user.commonwheel("install", "--python", path, *bring(root, [wheel]))
    for name in ("layer", "there/layer"):  # the second one is there already, and empty
        target = f"{user.home}/{name}"
        if "/" in name:
            user.run("mkdir", "-p", target)
        user.commonwheel("layer", path, target)
        assert not user.can_write(target)
        assert not user.can_write(f"{target}/entries")
        below = replace(user, stores=(f"{user.home}/{name}-own", target))
        other = below.environment(f"env-{name.replace('/', '-')}")
        below.commonwheel("install", "--python", other, *bring(root, [wheel]))
        assert below.entries(other) == {f"{target}/entries"}
        below.run(f"{other}/bin/python", "-c", "import thing")
    user.commonwheel("export", path, f"{user.home}/export")
    user.commonwheel("export", path, "--archive", f"{user.home}/archive.tar.gz")
    user.commonwheel("layer", path, f"{user.home}/layer.tar.gz")
    user.run(f"{user.home}/export/bin/python", "-c", "import thing; assert thing.x")
    # two users with the same wheels have the same archives
    other = someone(root, 20002)
    path = other.environment("somewhere")
    other.commonwheel("install", "--python", path, *bring(root, [wheel]), umask="077")
    other.commonwheel("export", path, "--archive", f"{other.home}/archive.tar.gz")
    other.commonwheel("layer", path, f"{other.home}/layer.tar.gz")
    for name in ("archive.tar.gz", "layer.tar.gz"):
        both = [root.folder / each.home[1:] / name for each in (user, other)]
        assert both[0].read_bytes() == both[1].read_bytes()
