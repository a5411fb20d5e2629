"""The job that commonwheel is made for: a large set of packages, in many environments.

The first environment fills the store from the index. The second and the third write no
package file, compile nothing, and work.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import interpreters
import reports
from environments import RUNTIME, Environment, Templates, Tree, tree
from wheelhouse import NEWEST_PIP

PYTHON = "3.11"
PACKAGES = (
    "pandas",
    "scikit-learn",
    "django",
    "fastapi[standard]",
    "jupyterlab",
    "google-cloud-storage",
    "azure-identity",
)
LINKED = ("first", "second", "third")
PATIENCE = 60.0
"""Seconds that a server may take to answer for the first time."""

MODULES = (
    "pandas",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "django.db.models",
    "fastapi.testclient",
    "uvicorn",
    "jupyterlab.labapp",
    "google.cloud.storage",
    "azure.identity.aio",
)
GROUPING = """
import pandas
frame = pandas.DataFrame({"name": ["a", "b", "a"], "number": [1, 2, 5]})
print(frame.groupby("name").number.sum().to_dict())
"""
FITTING = """
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit([[0], [1], [2]], [1, 3, 5])
print(model.predict([[10]]).round(6).tolist())
"""
STORAGE = """
from google.cloud import storage
client = storage.Client.create_anonymous_client()
print(client.bucket("a-bucket").blob("a/blob").public_url)
"""
IDENTITY = """
from azure.identity import ClientSecretCredential
print(type(ClientSecretCredential("tenant", "client", "secret")).__module__)
"""
SERVICE = """
import fastapi
app = fastapi.FastAPI()
@app.get("/{name}")
def greet(name: str) -> dict[str, str]:
    return {"hello": name}
"""


class Size(NamedTuple):
    """What a folder takes on disk."""

    inodes: int
    bytes: int

    @classmethod
    def of(cls, found: dict[int, int], without: Container[int] = ()) -> Size:
        """The size of inodes; a hard link to one that counts elsewhere is no other."""
        own = [size for inode, size in found.items() if inode not in without]
        return cls(len(own), sum(own))

    def __str__(self) -> str:
        return f"{self.inodes:7,d} inodes {self.bytes / 1e6:8.1f} MB"


class Job(NamedTuple):
    """The environments, by name, before and after the packages came."""

    environments: dict[str, Environment]
    before: Tree
    seconds: dict[str, float]
    """That ``pip install`` took."""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, templates: Templates) -> Job:
    root = tmp_path_factory.mktemp("job")
    python = interpreters.require(PYTHON)
    made, seconds = {}, {}
    for name in (*LINKED, "plain"):
        environment = templates.make(
            root / name, python, NEWEST_PIP, store=root / "store"
        )
        environment.run(python, "-m", "compileall", "-q", environment.site)
        before = tree(environment.path)
        started = time.monotonic()
        option = ["--use-shared-store"] if name in LINKED else []
        environment.pip("install", *option, *PACKAGES, variables=index(root))
        seconds[name] = time.monotonic() - started
        environment.code("")  # the runtime's own bytecode is written at the first start
        made[name] = environment
    return Job(made, before, seconds)


def index(root: Path) -> dict[str, str]:
    """The variables with which pip finds the index that it is configured for here."""
    own = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    config = os.environ.get("PIP_CONFIG_FILE", "")
    home = str(Path.home())
    cache = str(root / "cache")
    return {**own, "HOME": home, "PIP_CONFIG_FILE": config, "PIP_CACHE_DIR": cache}


@pytest.fixture(params=LINKED)
def environment(request: pytest.FixtureRequest, job: Job) -> Environment:
    return job.environments[request.param]


@pytest.mark.parametrize("name", LINKED[1:])
def test_a_later_environment_holds_no_package_file(job: Job, name: str) -> None:
    environment = job.environments[name]
    site = re.escape(environment.site.relative_to(environment.path).as_posix())
    runtime = "|".join(map(re.escape, RUNTIME))
    allowed = re.compile(
        rf"{site}/([^/]+\.dist-info/.+|[^/]+\.pth|{runtime})"
        rf"|{site}/_commonwheel/(links/[^/]+\.link|(.+/)?\.[^/]+\.commonwheel)"
        r"|(bin|etc|share)/.+"
    )
    files = {
        path
        for path, kind in tree(environment.path).items()
        if kind.startswith("file") and path not in job.before
    }
    assert not [path for path in sorted(files) if not allowed.fullmatch(path)]


@pytest.mark.parametrize("name", LINKED[1:])
def test_a_later_environment_takes_its_bytecode_from_the_store(
    job: Job, name: str
) -> None:
    environment = job.environments[name]
    before = reports.bytecode(environment)
    facts = reports.of_interpreter(environment, {"modules": MODULES})
    assert not [fact for key, fact in facts.items() if key.endswith(" > error")]
    assert facts["compiled"] == []
    assert reports.bytecode(environment) == before


def test_a_data_frame_is_grouped(environment: Environment) -> None:
    assert environment.code(GROUPING) == "{'a': 6, 'b': 2}"


def test_a_model_is_fitted(environment: Environment) -> None:
    assert environment.code(FITTING) == "[21.0]"


def test_a_django_project_is_started(environment: Environment, tmp_path: Path) -> None:
    program = environment.path / "bin/django-admin"
    environment.run(program, "startproject", "example", tmp_path)
    answer = environment.run(environment.python, tmp_path / "manage.py", "check")
    assert "no issues" in answer.stdout


def test_a_service_answers(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with served(environment, tmp_path) as address:
        assert answer_of(f"{address}/world") == {"hello": "world"}


@contextmanager
def served(environment: Environment, folder: Path) -> Iterator[str]:
    port = free_port()
    program = environment.path / "bin/uvicorn"
    command = [str(program), "service:app", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, env=environment.variables) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answer_of(address: str) -> object:
    """The JSON answer, once the server has started."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with direct.open(address, timeout=PATIENCE) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)


def test_jupyter_knows_its_version(environment: Environment) -> None:
    program = environment.path / "bin/jupyter"
    listed = environment.listed()
    versions = environment.run(program, "--version").stdout
    assert re.search(rf"^jupyterlab +: {listed['jupyterlab']}$", versions, re.MULTILINE)
    lab = environment.run(program, "lab", "--version").stdout.strip()
    assert lab == listed["jupyterlab"]


def test_a_storage_client_is_made(environment: Environment) -> None:
    url = "https://storage.googleapis.com/a-bucket/a/blob"
    assert environment.code(STORAGE) == url


def test_a_credential_is_made(environment: Environment) -> None:
    assert environment.code(IDENTITY).startswith("azure.identity.")


def test_pip_finds_everything_in_order(environment: Environment, job: Job) -> None:
    environment.pip("check")
    assert environment.listed() == job.environments["plain"].listed()


def test_a_later_environment_costs_little(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    store = inodes(job.environments["first"].store / "entries")
    taken = {
        name: Size.of(inodes(found.path), without=store)
        for name, found in job.environments.items()
    }
    with capsys.disabled():
        print(f"\n{'store':>8}: {Size.of(store)}")
        for name, found in taken.items():
            print(f"{name:>8}: {found} {job.seconds[name]:6.1f} s")
    assert taken["second"].inodes * 5 < taken["plain"].inodes
    assert taken["second"].bytes * 5 < taken["plain"].bytes


def inodes(root: Path) -> dict[int, int]:
    """The inodes below ``root``, and the bytes that they take on disk."""
    paths = (
        os.path.join(current, name)
        for current, folders, files in os.walk(root)
        for name in (*folders, *files)
    )
    found = map(os.lstat, paths)
    return {status.st_ino: status.st_blocks * 512 for status in found}
