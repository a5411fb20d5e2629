"""The command line, in a real virtual environment without pip."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commonwheel import environment
from commonwheel.frontends.cli import main
from wheel_file import write_wheel

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMMONWHEEL_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(
        tmp_path / "wheels",
        {"sample/__init__.py": "def main():\n    print('hello')\n"},
        metadata={"entry_points.txt": "[console_scripts]\nhello = sample:main\n"},
    )


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("given", ["", "bin/python"])
def test_install_takes_an_environment_or_its_interpreter(
    venv: Path, wheel: Path, given: str
) -> None:
    assert main(["install", "--python", str(venv / given), str(wheel)]) == 0
    assert run(venv / "bin/hello").stdout == "hello\n"


def test_install_takes_a_site_packages_folder(venv: Path, wheel: Path) -> None:
    site = venv / f"lib/{VERSION}/site-packages"
    assert main(["install", "--target", str(site), str(wheel)]) == 0
    assert run(venv / "bin/hello").stdout == "hello\n"


def test_install_into_the_active_environment_by_default(
    venv: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(venv))
    assert main(["install", str(wheel)]) == 0
    assert run(venv / "bin/hello").stdout == "hello\n"


def test_install_puts_real_files_into_a_folder_that_is_no_site_packages(
    venv: Path, wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = venv / "elsewhere"
    options = ["--python", str(venv), "--target", str(folder), "--json"]
    assert main(["install", *options, str(wheel)]) == 0
    (answer,) = _documents(capsys.readouterr().out)
    assert answer["installed"][0]["mode"] in ("reflink", "hardlink", "copy")
    assert sorted(path.name for path in folder.iterdir()) == [
        "bin",
        "sample",
        "sample-1.0.dist-info",
    ]
    assert run(folder / "bin/hello", PYTHONPATH=str(folder)).stdout == "hello\n"


def test_install_says_what_it_did_as_json(
    venv: Path, wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = write_wheel(wheel.parent, {"sample.py": ""}, version="2.0")
    for path in (wheel, newer):
        assert main(["install", "--python", str(venv), "--json", str(path)]) == 0
    *_, second = _documents(capsys.readouterr().out)
    assert [each["version"] for each in second["installed"]] == ["2.0"]
    assert [each["version"] for each in second["removed"]] == ["1.0"]


def test_install_without_wheels_renews_the_runtime(venv: Path, wheel: Path) -> None:
    main(["install", "--python", str(venv), str(wheel)])
    runtime = venv / f"lib/{VERSION}/site-packages/_commonwheel.py"
    expected = runtime.read_bytes()
    runtime.unlink()
    assert main(["install", "--python", str(venv)]) == 0
    assert runtime.read_bytes() == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["install", "--python", "nowhere", "six.whl"], "nowhere"),
        (["install", "six.whl"], "six.whl: No such file"),
        (["install", __file__], "is not a valid wheel"),
        (["install", "six-1.0-py3-none-any.whl"], "six-1.0-py3-none-any.whl"),
        (["uninstall", "absent"], "'absent' is not installed"),
        (["sync", "gone.txt"], "gone.txt: No such file"),
        (["sync", os.curdir], "Is a directory"),
        (["sync", "https://host/pylock.toml"], "download it first"),
        (["sync", "uv.lock"], "uv export"),
        (["status", "nowhere"], "nowhere"),
        (["doctor", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(
    venv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(venv))
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["install", "--prefix", "a", "--target", "b"])
    assert stopped.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["install", "sync", "uninstall", "enable"])
def test_ask_20_what_somebody_else_manages_is_changed_if_that_is_said(
    tmp_path: Path,
    venv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    marker = tmp_path / "EXTERNALLY-MANAGED"
    marker.write_text("[externally-managed]\nError=Ask the administrator\n")
    ask = environment._ask

    def managed(*arguments: Any) -> dict[str, Any]:
        return {**ask(*arguments), "externally_managed": str(marker)}

    monkeypatch.setattr(environment, "_ask", managed)
    lock = tmp_path / "requirements.txt"
    lock.touch()
    words = {"sync": [str(lock)], "uninstall": ["absent"]}.get(verb, [])
    place = [str(venv)] if verb == "enable" else ["--python", str(venv)]
    assert main([verb, *place, *words]) == 1
    said = capsys.readouterr().err
    assert "it is externally managed (Ask the administrator); make a" in said
    assert "`commonwheel venv DIR`" in said
    main([verb, "--break-system-packages", *place, *words])
    assert "externally managed" not in capsys.readouterr().err


def test_uninstall_removes_what_install_linked(venv: Path, wheel: Path) -> None:
    main(["install", "--python", str(venv), str(wheel)])
    assert main(["uninstall", "--python", str(venv), "Sample"]) == 0
    assert not (venv / "bin/hello").exists()
    assert run(venv / "bin/python", "-c", "import sample").returncode == 1


def test_status_and_doctor_of_an_environment_without_links(
    venv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(venv)]) == 0
    assert "0 distributions linked" in capsys.readouterr().out
    assert main(["doctor", str(venv)]) == 0
    assert not (venv / f"lib/{VERSION}/site-packages/_commonwheel").exists()


def test_status_prints_a_table_and_json(
    venv: Path, wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["install", "--python", str(venv), str(wheel)])
    assert main(["status", str(venv)]) == 0
    table = capsys.readouterr().out
    assert "sample" in table
    assert "1 distribution linked" in table
    assert main(["status", str(venv), "--json"]) == 0
    (found,) = _documents(capsys.readouterr().out)
    assert [each["name"] for each in found["linked"]] == ["sample"]
    assert found["bytes_saved"] > 0


def test_doctor_fails_and_says_how_to_mend(
    venv: Path, wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["install", "--python", str(venv), str(wheel)])
    (venv / f"lib/{VERSION}/site-packages/_commonwheel.py").unlink()
    assert main(["doctor", str(venv)]) == 1
    assert "to mend it: commonwheel repair" in capsys.readouterr().out
    assert main(["doctor", str(venv), "--json"]) == 1
    ((finding,),) = _documents(capsys.readouterr().out)
    assert finding.keys() == {"problem", "mend"}


def test_sync_makes_equal_and_says_so_in_one_line(
    venv: Path, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_wheel(wheel.parent, {"other.py": ""}, "other")
    main(["install", "--python", str(venv), str(other)])
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"sample @ {wheel.as_uri()}\n")
    command = ["sync", "--python", str(venv), str(lock)]
    assert main([*command, "--dry-run"]) == 0
    plan = "- other 1.0\n+ sample 1.0  (fetch)\n"
    assert capsys.readouterr() == (plan, "")
    assert main(command) == 0
    done = "Fetched 1, removed 1; 0 were up to date\n"
    assert capsys.readouterr() == ("", done)
    assert run(venv / "bin/hello").stdout == "hello\n"
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "Nothing to do; 1 were up to date\n"
    (document,) = _documents(printed.out)
    assert [*document] == ["installed", "removed", "up_to_date"]
    assert [each["name"] for each in document["up_to_date"]] == ["sample"]
    assert main([*command, "--require-hashes"]) == 1
    assert "the lock has no hash of it" in capsys.readouterr().err


def test_sync_selects_extras_and_groups(
    venv: Path, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    names = {"base": "", "ex": "'ex' in extras", "de": "'de' in dependency_groups"}
    names["gr"] = "'gr' in dependency_groups"
    text = 'lock-version = "1.0"\ncreated-by = "hand"\nextras = ["ex"]\n'
    text += 'dependency-groups = ["gr", "de"]\ndefault-groups = ["de"]\n'
    for name, marker in names.items():
        text += f'[[packages]]\nname = "{name}"\n'
        text += f'marker = "{marker}"\n' if marker else ""
        text += f'wheels = [{{url = "https://h/{name}-1-py3-none-any.whl",'
        text += f' hashes = {{sha256 = "{digest}"}}}}]\n'
    lock = tmp_path / "pylock.toml"
    lock.write_text(text)
    for options, expected in (
        ([], {"base", "de"}),
        (["--extra", "ex"], {"base", "ex", "de"}),
        (["--all-extras"], {"base", "ex", "de"}),
        (["--group", "gr"], {"base", "gr", "de"}),
        (["--no-default-groups"], {"base"}),
        (["--group=gr", "--no-default-groups"], {"base", "gr"}),
    ):
        command = ["sync", "--python", str(venv), str(lock), "--dry-run", "--json"]
        assert main([*command, *options]) == 0
        (plan,) = _documents(capsys.readouterr().out)
        assert {each["name"] for each in plan["installed"]} == expected


def test_rich_is_not_imported_where_nothing_is_shown(venv: Path, wheel: Path) -> None:
    code = (
        "import sys; from commonwheel.frontends.cli import main;"
        f"main(['install', '--python', {str(venv)!r}, {str(wheel)!r}]);"
        "sys.exit('rich' in sys.modules)"
    )
    assert run(sys.executable, "-c", code).returncode == 0


def test_it_is_a_module_too() -> None:
    asked = run(sys.executable, "-m", "commonwheel", "--version")
    assert asked.stdout.startswith("commonwheel ")


def _documents(text: str) -> list[dict[str, list[dict[str, str]]]]:
    decoder, found, position = json.JSONDecoder(), [], 0
    while text[position:].strip():
        document, length = decoder.raw_decode(text[position:].lstrip())
        position = len(text) - len(text[position:].lstrip()) + length
        found.append(document)
    return found


def test_ctrl_c_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("commonwheel.frontends.verbs.arguments.of_interpreter", interrupt)
    assert main(["status"]) == 1
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_being_told_to_end_is_as_ctrl_c(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(signal, name)

    def told(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("commonwheel.frontends.verbs.arguments.of_interpreter", told)
    before = signal.signal(number, signal.SIG_DFL)  # `nohup` has it ignored
    try:
        assert main(["status"]) == 1
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert "interrupted" in capsys.readouterr().err


def test_a_closed_standard_error_is_no_reason_to_fail(venv: Path, wheel: Path) -> None:
    command = f'exec "{sys.executable}" -m commonwheel install --python "$0" "$1" 2>&-'
    subprocess.run(["sh", "-c", command, venv, wheel], check=True)
    assert run(venv / "bin/hello").stdout == "hello\n"


def test_an_error_that_cannot_be_told_is_one_all_the_same(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where standard error is a file on a disk that is full."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device", text)

    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["uninstall", "--python", str(venv), "not-there"]) == 1
    assert main(["install", "--python", str(venv), "not-there.whl"]) == 1
