"""Requirements files: read as pip reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonwheel.lock_errors import InvalidLock
from commonwheel.requirements_file import Line, RequirementsFile, read


def parse(tmp_path: Path, text: str, **variables: str) -> RequirementsFile:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return read(path, variables)


def said(lines: tuple[Line, ...]) -> list[str]:
    return [str(line.requirement or line.place) for line in lines]


def test_lines_are_joined_comments_dropped_and_numbers_kept(tmp_path: Path) -> None:
    found = parse(
        tmp_path,
        "# head\n"
        "one==1 \\\n"
        "    --hash=sha256:AB \\\n"
        "    --hash sha512:cd  # why\n"
        "    # via two\n"
        "\n"
        "two==2 ; python_version < '4' # not#here\n"
        "three @ https://host/three-3.whl#sha256=ef\n"
        "four==4 \\\n"
        "  # a comment ends it\n"
        "five==5 \\",
    )
    assert said(found.lines) == [
        "one==1",
        'two==2; python_version < "4"',
        "three @ https://host/three-3.whl#sha256=ef",
        "four==4",
        "five==5",
    ]
    assert [line.number for line in found.lines] == [2, 7, 8, 9, 11]
    assert found.lines[0].hashes == {("sha256", "ab"), ("sha512", "cd")}


def test_places_are_told_from_names(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    found = parse(
        tmp_path,
        "-e ./project\n--editable=git+https://host/x@c#egg=x\n./project[extra]\n"
        "some/x-1.0-py3-none-any.whl\nx-1.0-py3-none-any.whl\nhttps://host/x.zip\n"
        "file:///x\n",
    )
    assert [(line.place, line.editable) for line in found.lines] == [
        ("./project", True),
        ("git+https://host/x@c#egg=x", True),
        ("./project[extra]", False),
        ("some/x-1.0-py3-none-any.whl", False),
        ("x-1.0-py3-none-any.whl", False),
        ("https://host/x.zip", False),
        ("file:///x", False),
    ]


def test_files_name_files_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "wheels").mkdir()
    (folder / "b.txt").write_text("b==2\n-c c.txt\n-f wheels\n-f elsewhere\n-r d.txt")
    (folder / "c.txt").write_text("b<3\n-r d.txt")
    (folder / "d.txt").write_text("d==4")
    found = parse(tmp_path, "a==1\n-r more/b.txt\n")
    assert said(found.lines) == ["a==1", "b==2", "d==4"]
    assert said(found.constraints) == ["b<3", "d==4"]
    assert found.lines[1].file == folder / "b.txt"
    assert found.options == (
        f"--find-links={folder / 'wheels'}",
        "--find-links=elsewhere",
    )


def test_options_of_the_index_are_kept_as_they_are(tmp_path: Path) -> None:
    found = parse(
        tmp_path,
        "-i https://${USER}:${SECRET}@host/${lower}/${UNSET}\n"
        "--pypi-url=https://b\n--extra-index-url 'https://c d'\n--no-index\n"
        "--trusted-host h --pre --prefer-binary\n--only-binary :all:\n"
        "--no-binary=x\n--require-hashes\n--use-feature y",
        USER="me",
        SECRET="s",
    )
    assert found.options == (
        "--index-url=https://me:s@host/${lower}/${UNSET}",
        "--index-url=https://b",
        "--extra-index-url=https://c d",
        "--no-index",
        "--trusted-host=h",
        "--pre",
        "--prefer-binary",
        "--only-binary=:all:",
        "--no-binary=x",
        "--use-feature=y",
    )
    assert found.require_hashes
    assert not parse(tmp_path, "a==1").require_hashes


@pytest.mark.parametrize(
    "content",
    [
        "caf\u00e9==1\n".encode("utf-8-sig"),
        "caf\u00e9==1\n".encode("utf-16"),
        b"\xfe\xff" + "caf\u00e9==1\n".encode("utf-16-be"),
        "caf\u00e9==1\n".encode("utf-32"),
        "#!x\n# -*- coding: latin-1 -*-\ncaf\u00e9==1\n".encode("latin-1"),
        "caf\u00e9==1\r\n".encode(),
    ],
)
def test_the_encoding_is_what_the_file_says(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidLock, match="'caf\u00e9==1' is not a requirement"):
        read(path, {})  # it is read rightly, and is no name of a distribution


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a==1\n!", "line 2", "not a requirement"),
        ("a==1\n\n-r gone.txt", "line 3", "No such file or directory .*gone.txt"),
        ("-r requirements.txt", "line 1", "names this file in turn"),
        ("-r https://host/r.txt", "line 1", "download it first"),
        ("a==1 --hash=sha256", "line 1", "is not ALGORITHM:DIGEST"),
        ("a==1 --hash=sha256:xyz", "line 1", "is not ALGORITHM:DIGEST"),
        ("--hash=sha256:ab", "line 1", "belongs to a requirement"),
        ("a==1 --no-index", "line 1", "a line of its own"),
        ("--nonsense", "line 1", "--nonsense"),
        ("--index-url", "line 1", "expected one argument"),
        ("--index-url 'x", "line 1", "No closing quotation"),
        ("version = 1", "line 1", "not a requirement"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, place: str, reason: str
) -> None:
    with pytest.raises(InvalidLock, match=reason) as caught:
        parse(tmp_path, text)
    assert caught.value.place == place
    assert caught.value.path == tmp_path / "requirements.txt"


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    for content in (b"\xff\xfe\x00", b"\x80", b"# coding: nonsense\n"):
        path.write_bytes(content)
        with pytest.raises(InvalidLock, match="it is not text"):
            read(path, {})
    with pytest.raises(OSError, match="gone"):
        read(tmp_path / "gone", {})


def test_a_link_to_itself_is_seen(tmp_path: Path) -> None:
    os.symlink("requirements.txt", tmp_path / "other.txt")
    with pytest.raises(InvalidLock, match="names this file in turn"):
        parse(tmp_path, "-r other.txt")
