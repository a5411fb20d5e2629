"""The recipes of docs/containers.md and docs/clusters.md do what these pages say."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

import dockerfile
from environments import Environment, Templates, run, tree
from filesystems import mounts, require
from root_filesystem import PLACE, Completed, RootFilesystem
from wheelhouse import CHECKOUT, NEWEST_PIP, Wheelhouse

PAGES = ("containers", "clusters")
_RECIPE = re.compile(
    r"^<!-- recipe: (\S+) -->\n```(?:sh|dockerfile)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)

ANY_USER = "1000680000:0"
"""As OpenShift starts images: a number that nobody has, in group 0."""


def recipes() -> dict[str, str]:
    """What the pages say to type, by name."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = (CHECKOUT / f"docs/{page}.md").read_text("utf-8")
        found |= dict(_RECIPE.findall(text))
    return found


class Site:
    """A folder that recipes are typed in, with commonwheel on ``PATH``."""

    def __init__(self, folder: Path, host: Environment, wheels: Path) -> None:
        self.folder = folder
        self.host = host
        self.offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        self.variables = {
            **host.variables,
            **self.offline,
            "PATH": f"{host.path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "COMMONWHEEL_STORE": str(folder / "store"),
        }

    def type(self, name: str, **variables: str) -> Completed:
        """Do what a recipe says."""
        environ = {**self.variables, **variables}
        return run(["sh", "-euc", recipes()[name]], cwd=self.folder, env=environ)

    def run(self, *command: object, check: bool = True) -> Completed:
        return run(command, cwd=self.folder, env=self.variables, check=check)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Wheelhouse) -> Path:
    """Of pygments, commonwheel, and all that it needs."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps")
    run([*pip, "-d", folder, "pygments"])
    for wheel in wheelhouse.folder.glob("*.whl"):
        if not (folder / wheel.name).exists():
            os.link(wheel, folder / wheel.name)
    return folder


@pytest.fixture
def site(tmp_path: Path, templates: Templates, python: Path, wheels: Path) -> Site:
    host = templates.make(tmp_path / "host", python, NEWEST_PIP)
    made = Site(tmp_path / "work", host, wheels)
    made.folder.mkdir()
    version = next(wheels.glob("pygments-*.whl")).name.split("-")[1]
    (made.folder / "requirements.txt").write_text(f"pygments=={version}\n")
    made.run(python, "-m", "venv", "--without-pip", "ENV")
    return made


@pytest.fixture
def filled(site: Site) -> Site:
    """One whose environment holds what is required."""
    site.run("commonwheel", "sync", "--python", "ENV", "requirements.txt")
    return site


@pytest.fixture
def base(tmp_path: Path, python: Path, wheels: Path) -> dockerfile.Base:
    """Root filesystems like those of the images that recipes start from."""
    require("a root filesystem", "ldd", "mount")

    def make(name: str) -> RootFilesystem:
        root = RootFilesystem.make(tmp_path / f"image-{name}", python)
        root.add_tools()
        for wheel in wheels.iterdir():
            target = root.folder / "wheels" / wheel.name
            target.parent.mkdir(exist_ok=True)
            os.link(wheel, target)
        return root

    return make


OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "HOME": "/tmp"}


def test_every_recipe_is_tried() -> None:
    source = Path(__file__).read_text("utf-8")
    tried = set(re.findall(r"(?:type\(|recipes\(\)\[)\"([\w-]+)\"", source))
    assert tried == recipes().keys()


def test_two_stages_and_any_user(
    site: Site, base: dockerfile.Base, tmp_path: Path
) -> None:
    text = recipes()["two-stages"]
    for attempt in range(2):
        caches = tmp_path / "caches"
        image = dockerfile.build(
            text,
            site.folder,
            lambda name, n=attempt: base(f"{n}-{name}"),
            caches,
            OFFLINE,
        )
        entries = os.listdir(caches / "store/entries")
        assert [each.partition("-")[0] for each in entries] == ["pygments"]
    app = image.root.folder / "app"
    before = tree(app)
    for user in (None, ANY_USER):
        assert image.start(user).stdout.startswith("Pygments version")
    python = ("/app/bin/python", "-c", "import pygments.lexers.python as p; print(p)")
    assert "/app/lib" in image.root.run(*python, user=ANY_USER).stdout
    assert tree(app) == before
    assert not any("commonwheel" in path for path in before)
    assert not (image.root.folder / "store").exists()


def test_a_layer_that_images_have_in_common(
    site: Site, base: dockerfile.Base, tmp_path: Path
) -> None:
    site.type("layer")
    first = (site.folder / "layer.tar.gz").read_bytes()
    site.type("layer")
    assert (site.folder / "layer.tar.gz").read_bytes() == first
    text = recipes()["layer-image"]
    image = dockerfile.build(text, site.folder, base, tmp_path / "caches", OFFLINE)
    assert image.start().stdout.startswith("Pygments version")
    own = image.root.folder / "var/lib/store/entries"
    assert not os.path.exists(own) or not os.listdir(own)
    links = list((image.root.folder / "app").rglob("*.link"))
    (link,) = (each.read_text() for each in links)
    assert "\nentry: /usr/share/commonwheel/store/entries/pygments-" in link


def test_a_debian_package(filled: Site, base: dockerfile.Base) -> None:
    filled.type("debian")
    stage = base("debian")
    run(["dpkg-deb", "-x", filled.folder / "app.deb", stage.folder])
    # the interpreter is at another path here than on this machine
    links = (stage.folder / "opt/app/bin").glob("python*")
    (real,) = (Path(t) for t in map(os.readlink, links) if os.path.isabs(t))
    prefix = stage.folder / str(real.parents[1]).lstrip("/")
    for name in ("bin", f"lib/{real.name}"):
        if not (prefix / name).exists():
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).symlink_to(f"/{PLACE}/{name}")
    assert stage.run("/opt/app/bin/pygmentize", "-V").stdout.startswith("Pygments")


def test_a_cache_of_ci(site: Site, python: Path) -> None:
    variables = {"PATH": f"{python.parent}{os.pathsep}{site.variables['PATH']}"}
    path = f"{site.host.path / 'bin'}{os.pathsep}{variables['PATH']}"
    site.type("ci", PATH=path)
    site.type("ci-save", PATH=path)
    saved = site.folder.parent / "cache.tar"
    run(["tar", "-C", site.folder, "-cf", saved, ".store"])
    run(["rm", "-rf", site.folder / ".store", site.folder / ".venv"])
    # another job: without an index, and without the times
    run(["tar", "-C", site.folder, "-m", "-xf", saved])
    site.type("ci", PATH=path, PIP_FIND_LINKS="/nowhere")
    done = run([site.folder / ".venv/bin/pygmentize", "-V"])
    assert done.stdout.startswith("Pygments version")
    entries = site.folder / ".store/entries"
    (needed,) = os.listdir(entries)
    # what a job does not need any more goes before the next one saves it
    extra = next(Path(site.offline["PIP_FIND_LINKS"]).glob("six-*.whl"))
    site.run(python, "-m", "venv", "--without-pip", "old")
    store = ("--store", ".store")
    site.run("commonwheel", "install", *store, "--python", "old", extra)
    run(["rm", "-rf", site.folder / "old"])
    big = recipes()["ci-save"]
    assert "2G" in big
    small = big.replace("2G", "1K")
    for _ in range(2):
        run(["sh", "-euc", small], cwd=site.folder, env=site.variables)
    assert os.listdir(entries) == [needed]


def test_an_image_that_is_mounted(filled: Site, tmp_path: Path) -> None:
    filled.type("image")
    (tmp_path / "mounts").mkdir()
    (tmp_path / "srv").mkdir()
    with mounts(tmp_path / "mounts") as made:
        made.mount_image(filled.folder / "wheels.squashfs", at=tmp_path / "srv")
        filled.variables["COMMONWHEEL_STORE"] = f"{tmp_path / 'own'}:{tmp_path / 'srv'}"
        filled.variables["PIP_FIND_LINKS"] = "/nowhere"
        base_python = filled.host.run(
            filled.host.python, "-c", "import sys; print(sys._base_executable)"
        ).stdout.strip()
        filled.run(base_python, "-m", "venv", "--without-pip", "other")
        filled.run("commonwheel", "sync", "--python", "other", "requirements.txt")
        told = filled.run("commonwheel", "status", "--json", "other").stdout
        (linked,) = json.loads(told)["linked"]
        assert linked["entry"].startswith(str(tmp_path / "srv/entries"))
        filled.run("other/bin/pygmentize", "-V")


def test_unpacking_an_export_when_a_job_starts(filled: Site, tmp_path: Path) -> None:
    filled.type("node")
    run(["rm", "-rf", filled.folder / "store", filled.folder / "ENV"])
    scratch = tmp_path / "the node's"
    scratch.mkdir()
    filled.type("job", TMPDIR=str(scratch))
    done = run([scratch / "app/bin/pygmentize", "-V"])
    assert done.stdout.startswith("Pygments version")


def test_the_store_of_a_team(site: Site, tmp_path: Path) -> None:
    store = tmp_path / "srv store"
    site.type("team", TEAM="0", STORE=str(store))
    assert store.stat().st_mode & 0o7777 == 0o3775
    site.variables["COMMONWHEEL_STORE"] = str(store)
    site.run("commonwheel", "sync", "--python", "ENV", "requirements.txt")
    assert (store / "entries").stat().st_mode & 0o7777 == 0o3775
