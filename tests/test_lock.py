"""Locks: what they name for an environment, and what they are not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import default_environment

from commonwheel.environment import Environment
from commonwheel.lock import read
from commonwheel.lock_errors import InvalidLock, LockMismatch
from commonwheel.pin import Kind, Pin

SHA = "a" * 64
OTHER = "b" * 64
COMMIT = "0123456789" * 4
HEAD = 'lock-version = "1.0"\ncreated-by = "hand"\n'


@pytest.fixture
def environment(environment: Environment) -> Environment:
    """One of Python 3.12 on Linux, whatever runs the tests."""
    markers: dict[str, str] = {
        **default_environment(),  # type: ignore[dict-item]
        "python_version": "3.12",
        "python_full_version": "3.12.1",
        "sys_platform": "linux",
    }
    tags = ("cp312-cp312-manylinux_2_17_x86_64", "py3-none-any")
    return replace(environment, tags=tags, markers=markers)


def select(
    path: Path, text: str, environment: Environment, **wanted: list[str]
) -> dict[str, Pin]:
    path.write_text(text)
    return {pin.name: pin for pin in read(path).select(environment, **wanted)}


def package(name: str, rest: str = "", version: str | None = "1.0") -> str:
    """A package with a pure wheel."""
    stated = f'version = "{version}"\n' if version else ""
    wheel = (
        f'wheels = [{{url = "https://host/{name}-1.0-py3-none-any.whl",'
        f' hashes = {{sha256 = "{SHA}"}}}}]\n'
    )
    return f'[[packages]]\nname = "{name}"\n{stated}{rest or wheel}'


# pylock.toml


def test_each_kind_of_source_becomes_a_pin(
    tmp_path: Path, environment: Environment
) -> None:
    hashes = f'hashes = {{sha256 = "{SHA}", MD5 = "00"}}'
    (tmp_path / "here.tar.gz").touch()
    text = HEAD + "".join(
        (
            package(
                "wheel",
                "wheels = [\n"
                f'{{name = "wheel-1.0-py3-none-any.whl", path = "w/x", {hashes}}},\n'
                '{url = "https://h/wheel-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",'
                f" size = 7, {hashes}}},\n"
                f'{{url = "https://h/wheel-1.0-cp313-cp313-win32.whl", {hashes}}}]\n',
                version=None,
            ),
            package(
                "sdist",
                f'sdist = {{url = "https://h/sdist-1.0.tar.gz", {hashes}}}\n'
                'wheels = [{url = "https://h/sdist-1.0-cp27-none-any.whl",'
                f" {hashes}}}]\n",
            ),
            package(
                "archive",
                'archive = {url = "https://h/archive%201.zip",'
                f' subdirectory = "sub", {hashes}}}\n',
                version=None,
            ),
            package(
                "direct",
                f'archive = {{url = "https://h/direct-2-py3-none-any.whl", {hashes}}}\n',
                version=None,
            ),
            package(
                "either",
                f'archive = {{url = "https://h/x", path = "here.tar.gz", {hashes}}}\n',
            ),
            package(
                "gone",
                f'archive = {{url = "https://h/x", path = "gone.zip", {hashes}}}\n',
            ),
            package(
                "commit",
                'vcs = {type = "git", url = "https://h/r", requested-revision = "main",'
                f' commit-id = "{COMMIT}", subdirectory = "sub"}}\n',
                version=None,
            ),
            package(
                "project", 'directory = {path = "../p", editable = true}\n', version=None
            ),
            package(
                "part", 'directory = {path = "p", subdirectory = "q"}\n', version=None
            ),
        )
    )
    found = select(tmp_path / "pylock.toml", text, environment)
    sha = frozenset({("sha256", SHA)})
    best = "wheel-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
    assert found == {
        "wheel": Pin("wheel", "1.0", Kind.WHEEL, best, f"https://h/{best}", sha, 7),
        "sdist": Pin(
            *("sdist", "1.0", Kind.SDIST),
            *("sdist-1.0.tar.gz", "https://h/sdist-1.0.tar.gz", sha),
        ),
        "archive": Pin(
            *("archive", None, Kind.ARCHIVE),
            *("archive 1.zip", "https://h/archive%201.zip", sha),
            direct=True,
            subdirectory="sub",
        ),
        "direct": Pin(
            *("direct", "2", Kind.WHEEL, "direct-2-py3-none-any.whl"),
            *("https://h/direct-2-py3-none-any.whl", sha),
            direct=True,
        ),
        "either": Pin(
            *("either", "1.0", Kind.ARCHIVE, "here.tar.gz"),
            *(str(tmp_path / "here.tar.gz"), sha),
            direct=True,
        ),
        "gone": Pin(*("gone", "1.0", Kind.ARCHIVE, "x", "https://h/x", sha), direct=True),
        "commit": Pin(
            *("commit", None, Kind.VCS, None, "https://h/r"),
            direct=True,
            subdirectory="sub",
            vcs="git",
            commit=COMMIT,
            requested_revision="main",
        ),
        "project": Pin(
            *("project", None, Kind.DIRECTORY, None, str(tmp_path.parent / "p")),
            direct=True,
            editable=True,
        ),
        "part": Pin(
            *("part", None, Kind.DIRECTORY, None, str(tmp_path / "p/q")), direct=True
        ),
    }
    assert str(found["wheel"]) == "wheel 1.0"
    assert str(found["commit"]) == "commit"


def test_markers_extras_and_groups_select(
    tmp_path: Path, environment: Environment
) -> None:
    path = tmp_path / "pylock.some.toml"
    text = HEAD + 'extras = ["more"]\ndependency-groups = ["dev", "Docs_x"]\n'
    text += 'default-groups = ["dev"]\n'
    for name, marker in (
        ("always", "python_version >= '3.9'"),
        ("never", "sys_platform == 'win32'"),
        ("extra", "'more' in extras"),
        ("dev", "'dev' in dependency_groups"),
        ("docs", "'Docs_x' in dependency_groups"),
    ):
        text += package(name).replace("\nversion", f'\nmarker = "{marker}"\nversion')
    assert [*select(path, text, environment)] == ["always", "dev"]
    assert [*select(path, text, environment, extras=["More"])] == [
        *("always", "extra", "dev"),
    ]
    assert [*select(path, text, environment, groups=[])] == ["always"]
    assert [*select(path, text, environment, groups=["docs-x"])] == ["always", "docs"]
    assert read(path).default_groups == ("dev",)
    assert read(path).extras == ("more",)
    for wanted, said in (
        ({"extras": ["x"]}, r"no extra 'x' \(it has: more\)"),
        ({"groups": ["x"]}, r"no group 'x' \(it has: Docs_x, dev\)"),
    ):
        with pytest.raises(InvalidLock, match=said):
            select(path, text, environment, **wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + 'requires-python = ">=3.13"\npackages = []', "requirement '>=3.13'"),
        (HEAD + "environments = [\"os_name == 'nt'\"]\npackages = []", "environments"),
        (HEAD + package("a", version='1.0"\nrequires-python = "<3'), "package 'a'"),
        (
            HEAD
            + package(
                "a",
                'wheels = [{url = "https://h/a-1-cp313-cp313-win32.whl",'
                f' hashes = {{sha256 = "{SHA}"}}}}]',
                version=None,
            ),
            "No wheel found matching",
        ),
        (HEAD + package("a") + package("a"), "Multiple packages"),
    ],
)
def test_a_lock_for_another_environment_says_so(
    tmp_path: Path, environment: Environment, text: str, said: str
) -> None:
    with pytest.raises(LockMismatch, match=said) as caught:
        select(tmp_path / "pylock.toml", text, environment)
    assert str(environment) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "place", "said"),
    [
        ("pylock.toml", "\nx = !", None, "not TOML: .*line 2"),
        ("pylock.toml", "", "lock-version", "Missing required value"),
        ("any.lock", HEAD + package("A"), "packages[0].name", "not normalized"),
        (
            "pylock.toml",
            'lock-version = "2.0"\ncreated-by = ""\npackages = []',
            None,
            "2.0",
        ),
        ("pyproject.toml", "[project]", None, "no lock-version"),
        ("uv.lock", "version = 1", None, "uv export"),
        ("Pipfile.lock", "{}", None, "pipenv requirements"),
        ("other.lock", "[x]", "line 1", "not a requirement"),
    ],
)
def test_what_is_no_lock_is_refused(
    tmp_path: Path, name: str, text: str, place: str | None, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidLock, match=said) as caught:
        read(path)
    assert caught.value.place == place


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(OSError, match=str(path)):
            read(path)
    with pytest.raises(InvalidLock, match="download it first"):
        read(Path("https://host/pylock.toml"))


def test_a_weak_hash_is_none(tmp_path: Path, environment: Environment) -> None:
    text = HEAD + package("a").replace("sha256", "md5")
    with pytest.raises(InvalidLock, match="package a: md5 cannot vouch"):
        select(tmp_path / "pylock.toml", text, environment)


# requirements files


def test_each_kind_of_line_becomes_a_pin(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("named", "edited"):
        (tmp_path / name).mkdir()
        pyproject = tmp_path / name / "pyproject.toml"
        pyproject.write_text(f'[project]\nname = "My.{name}"')
    (tmp_path / "unnamed").mkdir()
    found = select(
        tmp_path / "requirements.txt",
        f"Plain.X[extra]==1.0 --hash=sha256:{SHA} --hash=sha256:{OTHER}\n"
        "skipped==1 ; sys_platform == 'win32'\n"
        f"wheel @ https://h/Wheel-1.0-py3-none-any.whl#sha256={SHA}\n"
        f"archive @ https://h/x.tar.gz#subdirectory=sub&sha512={OTHER}\n"
        f"commit @ git+https://u@h/r.git@{COMMIT}#subdirectory=sub\n"
        f"-e git+https://h/r@{COMMIT}#egg=Edited_commit\n"
        "./named[extra]\n-e edited\n-e ./unnamed#egg=said\n"
        f"local @ file://{tmp_path}/named\n"
        f"w/here-3-py3-none-any.whl --hash=sha256:{SHA}\n",
        environment,
    )
    here = "here-3-py3-none-any.whl"
    sha = frozenset({("sha256", SHA)})
    assert [*found.values()] == [
        Pin("plain-x", "1.0", Kind.INDEX, hashes=sha | {("sha256", OTHER)}),
        Pin(
            *("wheel", "1.0", Kind.WHEEL, "Wheel-1.0-py3-none-any.whl"),
            *("https://h/Wheel-1.0-py3-none-any.whl", sha),
            direct=True,
        ),
        Pin(
            *("archive", None, Kind.ARCHIVE, "x.tar.gz", "https://h/x.tar.gz"),
            frozenset({("sha512", OTHER)}),
            direct=True,
            subdirectory="sub",
        ),
        Pin(
            *("commit", None, Kind.VCS, None, "https://u@h/r.git"),
            direct=True,
            subdirectory="sub",
            vcs="git",
            commit=COMMIT,
        ),
        Pin(
            *("edited-commit", None, Kind.VCS, None, "https://h/r"),
            direct=True,
            editable=True,
            vcs="git",
            commit=COMMIT,
        ),
        Pin(
            *("my-named", None, Kind.DIRECTORY, None, str(tmp_path / "named")),
            direct=True,
        ),
        Pin(
            *("my-edited", None, Kind.DIRECTORY, None, str(tmp_path / "edited")),
            direct=True,
            editable=True,
        ),
        Pin(
            *("said", None, Kind.DIRECTORY, None, str(tmp_path / "unnamed")),
            direct=True,
            editable=True,
        ),
        Pin(
            *("local", None, Kind.DIRECTORY, None, str(tmp_path / "named")),
            direct=True,
        ),
        Pin("here", "3", Kind.WHEEL, here, str(tmp_path / "w" / here), sha, direct=True),
    ]
    assert found["here"].path == tmp_path / "w" / here
    assert found["wheel"].path is None


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("a==1\nb>=1", 2, "b>=1 is not pinned"),
        ("a", 1, "a is not pinned"),
        ("a==1.*", 1, "not pinned"),
        ("a==1,!=2", 1, "not pinned"),
        ("a===one", 1, "not a version"),
        ("a @ git+https://h/r@main", 1, "not pinned to one commit"),
        ("a @ git+https://h/r", 1, "not pinned to one commit"),
        (f"git+https://h/r@{COMMIT}", 1, "does not say its name"),
        ("-e .", 1, "does not say its name"),
        ("-e https://h/x.zip#egg=x", 1, "cannot be editable"),
        ("https://h/no.zip", 1, "Invalid sdist"),
        ("a @ https://h/b-1-py3-none-any.whl", 1, "is a wheel of b, not of a"),
        ("a @ https://h/b.whl", 1, "Invalid wheel"),
        (f"a==1 --hash=md5:{SHA}", 1, "md5 cannot vouch"),
        (f"a==1 --hash=sha256:{SHA}\nb==1", 2, "b 1 has no --hash"),
        ("a==1\na==2", 2, "names a again"),
        ("a==3\n-c c.txt", 1, "is not what .*c.txt, line 1 allows"),
    ],
)
def test_a_line_that_locks_nothing_is_named(
    tmp_path: Path,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    place: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.txt").write_text("A<3\nother<1")
    with pytest.raises(InvalidLock, match=said) as caught:
        select(tmp_path / "requirements.txt", text, environment)
    assert caught.value.place == f"line {place}"


def test_errors_do_not_tell_credentials(tmp_path: Path, environment: Environment) -> None:
    for text in (
        "a @ git+https://me:secret@host/r@main",
        "a @ https://me:secret@host/b-1-py3-none-any.whl",
        "-e https://me:secret@host/x.zip",
        "https://me:secret@host/x",
    ):
        with pytest.raises(InvalidLock) as caught:
            select(tmp_path / "requirements.txt", text, environment)
        assert "secret" not in str(caught.value)


def test_what_has_no_file_needs_no_hash(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "project"')
    text = (
        f"-e .\na==1 --hash=sha256:{SHA}\na==1 --hash=sha256:{OTHER}\n"
        f"c @ git+https://h/r@{COMMIT}\nd==1\n-c c.txt"
    )
    (tmp_path / "c.txt").write_text(f"d==1 --hash=sha256:{SHA}")
    found = select(tmp_path / "uv-export.txt", text, environment)
    assert [*found] == ["project", "a", "c", "d"]
    assert {digest for _, digest in found["a"].hashes} == {SHA, OTHER}
    assert found["d"].hashes == {("sha256", SHA)}


def test_a_requirements_file_has_no_extras_or_groups(
    tmp_path: Path, environment: Environment
) -> None:
    wanted: Mapping[str, list[str]]
    for wanted in ({"extras": ["x"]}, {"groups": ["x"]}):
        with pytest.raises(InvalidLock, match="'x': a requirements file has none"):
            select(tmp_path / "r.txt", "a==1", environment, **wanted)


def test_what_a_requirements_file_says_of_the_index(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("--index-url https://${HOST}\n--require-hashes\na==1")
    lock = read(path, {"HOST": "host"})
    assert (lock.options, lock.require_hashes) == (("--index-url=https://host",), True)
    assert read(path, os.environ).default_groups == ()
