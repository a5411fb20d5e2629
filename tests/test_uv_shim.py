"""The stand-in for uv, with a fake uv that notes what it is asked and answers by rote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from commonwheel import requirements_file
from commonwheel.frontends.uv import answers, arguments, inputs, wheels
from commonwheel.frontends.uv.arguments import parse
from commonwheel.pin import Kind, Pin
from wheel_file import write_wheel

SOURCE = Path(__file__).parents[1] / "src"
SHIM = "import sys; from {}.frontends.uv.shim import main; sys.exit(main())"
SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"

FAKE = """#!{python}
import json, os, sys, time
here = os.path.dirname(os.path.realpath(__file__))
given = sys.argv[1:]
stdin = "" if "--sleep" in given else sys.stdin.read()
with open(os.path.join(here, "calls"), "a") as calls:
    calls.write(json.dumps({{"given": given, "stdin": stdin, "pid": os.getpid(),
                             "mark": os.environ.get("MARK")}}) + "\\n")
with open(os.path.join(here, "answers")) as file:
    answers = json.load(file)
kinds = {{"--dry-run": "dry", "--show-settings": "show", "compile": "compile"}}
kinds["export"] = "export"
kind = next((kinds[word] for word in kinds if word in given), "run")
answer = answers.get(kind, {{}})
if "pylock" in answer and "-o" in given:
    with open(given[given.index("-o") + 1], "w") as file:
        file.write(answer["pylock"])
if "--sleep" in given:
    time.sleep(30)
sys.stdout.write(answer.get("out", ""))
sys.stderr.write(answer.get("err", ""))
sys.exit(answer.get("status", 0))
"""


class FakeUv:
    """A program that answers each kind of question as it was told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "uv"
        folder.mkdir()
        self.path.write_text(FAKE.format(python=sys.executable))
        self.path.chmod(0o755)
        self.answer({})

    def answer(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """What to say and write; kinds: dry, compile, export, show, run."""
        (self.folder / "answers").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def uv(tmp_path: Path) -> FakeUv:
    return FakeUv(tmp_path / "fake")


@pytest.fixture
def variables(tmp_path: Path, uv: FakeUv) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV", "PYTHON"))}
    return kept | {
        "PYTHONPATH": str(SOURCE),
        "PATH": f"{uv.folder}{os.pathsep}{os.environ['PATH']}",
        "COMMONWHEEL_STORE": str(tmp_path / "store"),
    }


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path / "wheels", {"sample.py": "VALUE = 1\n"})


def shim(
    variables: Mapping[str, str], *given: str, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SHIM.format("commonwheel"), *given]
    kwargs.setdefault("input", "")
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, **kwargs
    )


def plans(venv: Path, wheel: Path, *lines: str) -> dict[str, dict[str, str]]:
    """Answers of a uv that would install version 1.0 from ``wheel``."""
    name = wheel.name.split("-")[0]
    shown = "".join(f"{line}\n" for line in (*lines, f" + {name}==1.0"))
    pylock = f"""lock-version = "1.0"
created-by = "hand"
[[packages]]
name = "{name}"
version = "1.0"
wheels = [{{ url = "{wheel.as_uri()}", hashes = {{ sha256 = "{sha256(wheel)}" }} }}]
"""
    using = f"DEBUG Using Python 3.9.0 environment at: {venv}\n"
    return {"dry": {"err": using + shown}, "compile": {"pylock": pylock}}


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_linked(venv: Path) -> bool:
    return (venv / SITE / "_commonwheel/links/sample.link").exists()


# uv's command line


@pytest.mark.parametrize(
    ("given", "verb"),
    [
        ("pip install x", "pip install"),
        ("--color never -qq pip --offline install x", "pip install"),
        ("--project pip pip sync x", "pip sync"),
        ("--project=sync --cache-dir pip sync --frozen", "sync"),
        ("pip uninstall sync", None),
        ("run pip install", None),
        ("--directory pip freeze", None),
        ("tool install sync", None),
        ("venv", None),
        ("--version", None),
        ("-- pip install", None),
        ("", None),
    ],
)
def test_the_verb_is_found_behind_global_options(given: str, verb: str | None) -> None:
    found = parse(given.split())
    assert (" ".join(found.verb) if found else None) == verb


@pytest.mark.parametrize(
    "option",
    [
        "--target x",
        "-tx",
        "--prefix=x",
        "--dry-run",
        "--check",
        "--help",
        "-qh",
        "--break-system-packages",
        "--python-platform linux",
        "--python-version 3.9",
        "--output-format json",
        "--user",
    ],
)
def test_what_links_are_of_no_use_for_is_uvs_at_once(option: str) -> None:
    command = parse(["pip", "install", *option.split(), "x"])
    assert command is not None
    assert not command.linkable


def test_options_are_told_from_values_and_positionals() -> None:
    given = (
        "-nq pip install -rone.txt -r two.txt --requirement=three.txt -c no.txt one "
        "-e ./here -Uq --find-links --target=x -p 3.12 -qi url --no-binary :all: two "
        "-- -r four.txt"
    )
    command = parse(given.split())
    assert command is not None
    assert command.values("--requirements") == ("one.txt", "two.txt", "three.txt")
    assert command.values("--editable") == ("./here",)
    assert command.values("--find-links") == ("--target=x",)
    assert command.values("--index-url") == ("url",)
    assert command.positional == ("one", "two", "-r", "four.txt")
    assert command.has("--no-cache")
    assert command.has("--upgrade")
    assert command.linkable
    assert " ".join(command.words()) == (
        "-n -q pip install -rone.txt -r two.txt --requirement=three.txt -c no.txt one "
        "-e ./here -U -q --find-links --target=x -p 3.12 -q -i url --no-binary :all: two "
        "-- -r four.txt"
    )


def test_no_binary_takes_a_value_after_uv_pip_only() -> None:
    command = parse(["sync", "--no-binary", "--script", "x"])
    assert command is not None
    assert not command.linkable
    command = parse(["pip", "sync", "--no-binary", "--script", "x"])
    assert command is not None
    assert command.values("--no-binary") == ("--script",)


# uv's answers


def test_what_comes_from_an_index_is_told_from_what_does_not() -> None:
    said = """\x1b[2mUsing Python 3.11.7 environment at: e1\x1b[0m
Resolved 3 packages in 5ms
Would install 3 packages
 - \x1b[1miniconfig\x1b[0m\x1b[2m==2.3.0\x1b[0m
 + iniconfig==2.3.1
 ~ six==1.17.0
 + torch==2.5.1+cpu
 - gone==1.0
 ~ demo==1.0 (from file:///demo)
 + proj @ file:///proj
DEBUG  + nothing==1.0
"""
    found = answers.changes(said)
    assert found.wanted == {"iniconfig": "2.3.1", "six": "1.17.0", "torch": "2.5.1+cpu"}
    assert found.others == {"demo", "proj"}
    assert found.lines["iniconfig"] == (" - iniconfig==2.3.0", " + iniconfig==2.3.1")
    place = answers.pip_place(said, Path("/project"))
    assert place == answers.Place(Path("/project/e1"), "3.11.7")


def test_a_folder_of_its_own_is_no_environment() -> None:
    said = (
        "Using Python 3.11.7 environment at: e1\nDEBUG Using `--target` directory at x\n"
    )
    assert answers.pip_place(said, Path()) is None


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("  no_binary: None,\n", frozenset()),
        ("", frozenset()),
        ("  no_binary: All,\n", None),
        (
            '  no_binary: Packages([PackageName("six"), PackageName(\n"foo",),\n],\n),\n',
            frozenset({"six", "foo"}),
        ),
    ],
)
def test_settings_say_what_has_to_be_built(
    settings: str, names: frozenset[str] | None
) -> None:
    assert answers.without_wheels(settings) == names


def test_a_wheel_has_to_have_one_of_the_hashes_that_are_listed(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(
        "-r two.txt\nfree==1\nsample==1 \\\n --hash=sha256:aa --hash=sha256:BB\n"
    )
    (tmp_path / "two.txt").write_text("other==1 --hash=sha512:cc\n")
    listed = [requirements_file.read(tmp_path / "one.txt", {})]

    def allowed(name: str, algorithm: str, digest: str) -> bool:
        hashes = frozenset({(algorithm, digest)})
        pin = Pin(name, "1", Kind.WHEEL, hashes=hashes)
        return wheels._is_allowed(pin, listed)

    assert allowed("sample", "sha256", "aa")
    assert allowed("sample", "sha256", "bb")
    assert not allowed("sample", "sha256", "cc")
    assert not allowed("other", "sha256", "cc")
    assert allowed("free", "sha256", "dd")


def test_files_are_where_uv_runs(tmp_path: Path) -> None:
    given = "--directory one --directory=/two pip install -r a.txt -c b.txt -c d.toml"
    command = parse(given.split())
    assert command is not None
    found = inputs.read(command, {"UV_OVERRIDE": "e.txt /f.txt"}, None)
    names = ("/two/a.txt", "/two/b.txt", "/two/d.toml", "/two/e.txt", "/f.txt")
    assert found.files == tuple(map(Path, names))
    assert found.projects
    assert not found.lasting
    assert Path("/two/d.toml") not in found.requirements


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.dev.toml"])
def test_lock_files_are_known_by_their_names(name: str) -> None:
    command = parse(["pip", "sync", name])
    assert command is not None
    found = inputs.read(command, {}, None)
    assert found.lock == Path.cwd() / name
    assert not found.projects


# which uv is run


def test_other_commands_are_uvs_in_the_same_process(
    uv: FakeUv, variables: dict[str, str]
) -> None:
    uv.answer({"run": {"out": "out\n", "err": "err\n", "status": 7}})
    command = [sys.executable, "-c", SHIM.format("commonwheel"), "pip", "list", "-q", ""]
    with subprocess.Popen(
        command,
        env=variables | {"MARK": "kept"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate("in")
    assert (out, err, process.returncode) == ("out\n", "err\n", 7)
    (call,) = uv.calls
    assert call == {
        "given": ["pip", "list", "-q", ""],
        "stdin": "in",
        "pid": process.pid,
        "mark": "kept",
    }


def test_scripts_of_ours_named_uv_are_passed_over(
    uv: FakeUv, variables: dict[str, str], tmp_path: Path
) -> None:
    scripts = [tmp_path / "one/uv", tmp_path / "two/uv"]
    for script in scripts:
        script.parent.mkdir()
        script.write_text(f"#!{sys.executable}\n{SHIM.format('commonwheel')}\n")
        script.chmod(0o755)
        variables["PATH"] = f"{script.parent}{os.pathsep}{variables['PATH']}"
    for script in scripts:
        subprocess.run([script, "--version"], env=variables, check=True, timeout=20)
    assert [call["given"] for call in uv.calls] == [["--version"]] * 2
    variables["COMMONWHEEL_UV"] = str(script)
    refused = shim(variables, "--version")
    assert refused.returncode == 2
    assert "COMMONWHEEL_UV is" in refused.stderr


def test_a_named_uv_goes_before_the_one_on_path(
    uv: FakeUv, variables: dict[str, str], tmp_path: Path
) -> None:
    named = FakeUv(tmp_path / "named")
    shim(variables | {"COMMONWHEEL_UV": str(named.path)}, "--version")
    assert len(named.calls) == 1
    assert not uv.calls


def test_no_uv_is_a_clear_error(variables: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys, sysconfig; sysconfig.get_path = lambda name: sys.argv.pop();"
        f"{SHIM.format('commonwheel')}"
    )
    command = [sys.executable, "-c", code, "pip", "install", "x", str(tmp_path)]
    variables["PATH"] = str(tmp_path / "empty")
    answer = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr == (
        "commonwheel: error: no uv was found on PATH or beside commonwheel: install uv, "
        "or let COMMONWHEEL_UV name it\n"
    )


def test_commonwheel_uv_hands_everything_on(
    uv: FakeUv, variables: dict[str, str]
) -> None:
    for given in (["--version"], ["--help"], ["-q", "run", "--", "x", "--"], ["-h"]):
        command = [sys.executable, "-m", "commonwheel", "uv", *given]
        subprocess.run(command, env=variables, check=True, input="", text=True)
        assert uv.calls[-1]["given"] == given


# linking


def test_wheels_are_linked_and_then_uv_runs_as_it_was_called(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    uv.answer(plans(venv, wheel))
    answer = shim(variables, "pip", "install", "sample")
    assert answer.stderr == "Linked 1 package\n + sample==1.0\n"
    assert is_linked(venv)
    dry, _, last = uv.calls
    assert "--dry-run" in dry["given"]
    assert last["given"] == ["pip", "install", "sample"]


def test_the_index_is_not_asked_twice(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    fake = uv.path.read_text().replace('"MARK"', '"UV_OFFLINE"')
    uv.path.write_text(fake)
    uv.answer(plans(venv, wheel))
    shim(variables, "pip", "install", "sample")
    assert [call["mark"] for call in uv.calls] == [None, "1", None]


def test_options_that_bear_on_files_go_with_the_question(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    uv.answer(plans(venv, wheel))
    given = "--no-config pip install --no-index -f x -U --strict --link-mode copy sample"
    shim(variables, *given.split())
    asked = uv.calls[1]["given"]
    assert asked[:2] == ["pip", "compile"]
    assert {"--no-config", "--no-index", "--no-deps"} < set(asked)
    assert asked[asked.index("-f") + 1] == "x"
    assert not {"-U", "--strict", "--link-mode", "sample"} & set(asked)


def test_a_file_with_another_hash_is_left_to_uv(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path, tmp_path: Path
) -> None:
    uv.answer(plans(venv, wheel))
    file = tmp_path / "requirements.txt"
    file.write_text(f"sample==1.0 --hash=sha256:{'0' * 64}\n")
    shim(variables, "pip", "install", "-r", str(file))
    assert not is_linked(venv)
    file.write_text(f"sample==1.0 --hash=sha256:{sha256(wheel)}\n")
    shim(variables, "pip", "install", "-r", str(file))
    assert is_linked(venv)


def test_standard_input_is_read_once_and_handed_to_each(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    uv.answer(plans(venv, wheel))
    shim(variables, "pip", "install", "-r", "-", input="sample\n")
    assert is_linked(venv)
    dry, _, last = uv.calls
    assert dry["stdin"] == last["stdin"] == "sample\n"


def test_a_pipe_that_can_be_read_once_is_uvs(
    uv: FakeUv, variables: dict[str, str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    shim(variables, "pip", "install", "-r", str(tmp_path / "fifo"))
    assert [call["given"][:2] for call in uv.calls] == [["pip", "install"]]
    assert "--dry-run" not in uv.calls[0]["given"]


def test_what_mends_an_environment_is_left_to_uv(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path, tmp_path: Path
) -> None:
    pip = write_wheel(tmp_path / "wheels", {"pip/__init__.py": ""}, "pip")
    answers, others = plans(venv, wheel), plans(venv, pip)
    answers["dry"]["err"] += " + pip==1.0\n"
    _, packages, more = others["compile"]["pylock"].partition("[[packages]]")
    answers["compile"]["pylock"] += packages + more
    uv.answer(answers)
    answer = shim(variables, "pip", "install", "--reinstall", "sample", "pip")
    assert answer.stderr == "Linked 1 package\n + sample==1.0\n"
    assert not (venv / SITE / "pip").exists()
    left = ["--reinstall-package", "pip", "sample", "pip"]
    assert uv.calls[-1]["given"] == ["pip", "install", *left]


REINSTALLS = {
    "all": ("--reinstall", ["--reinstall-package", "proj"]),
    "by its other name": ("--force-reinstall", ["--reinstall-package", "proj"]),
    "one, linked": ("--reinstall-package Sample", []),
    "one, not linked": ("--reinstall-package proj", ["--reinstall-package", "proj"]),
}


@pytest.mark.parametrize("case", REINSTALLS)
def test_what_was_linked_anew_is_not_reinstalled(
    case: str, uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    asked, handed_on = REINSTALLS[case]
    uv.answer(plans(venv, wheel, " ~ proj==1.0 (from file:///proj)"))
    shim(variables, "pip", "install", *asked.split(), "sample", "./proj")
    assert uv.calls[-1]["given"] == ["pip", "install", *handed_on, "sample", "./proj"]


def test_a_link_that_is_reinstalled_is_mended(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    uv.answer(plans(venv, wheel))
    shim(variables, "pip", "install", "sample")
    (venv / SITE / "_commonwheel/view/sample.py").unlink()
    shim(variables, "pip", "install", "--reinstall", "sample")
    assert (venv / SITE / "_commonwheel/view/sample.py").exists()


@pytest.mark.parametrize("quiet", [False, True])
def test_a_failure_of_ours_is_one_line_and_uv_does_it_all(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path, *, quiet: bool
) -> None:
    answers = plans(venv, wheel)
    answers["compile"] = {"err": "hint\nerror: no such luck\n", "status": "2"}
    uv.answer(answers)
    given = [*(["-q"] if quiet else []), "pip", "install", "--reinstall", "sample"]
    answer = shim(variables, *given)
    warning = "commonwheel: warning: uv installs without links: uv pip compile: error: "
    assert answer.stderr == ("" if quiet else f"{warning}no such luck\n")
    assert uv.calls[-1]["given"] == given
    assert not is_linked(venv)


def test_uvs_own_failure_is_told_by_uv_alone(
    uv: FakeUv, variables: dict[str, str]
) -> None:
    failed = {"err": "error: unsatisfiable\n", "status": 1}
    uv.answer({"dry": failed, "run": failed})
    answer = shim(variables, "pip", "install", "sample")
    assert (answer.stderr, answer.returncode) == ("error: unsatisfiable\n", 1)


def test_ctrl_c_ends_uv_and_us(uv: FakeUv, variables: dict[str, str]) -> None:
    command = [sys.executable, "-c", SHIM.format("commonwheel"), "pip", "install"]
    with subprocess.Popen(
        [*command, "--sleep"],
        env=variables,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 20
        while not uv.calls and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert "warning" not in said
    (call,) = uv.calls
    assert "--dry-run" in call["given"]
    with pytest.raises(ProcessLookupError):
        os.kill(call["pid"], 0)


def _sync_answers(venv: Path, wheel: Path, action: str) -> dict[str, dict[str, str]]:
    answers = plans(venv, wheel, " + proj==1.0 (from file:///proj)")
    told = {
        "sync": {"environment": {"path": str(venv)}, "action": action},
        "lock": {"action": "use"},
    }
    answers["dry"]["out"] = json.dumps(told)
    answers["export"] = answers.pop("compile")
    return answers


def test_sync_links_into_the_environment_that_uv_names(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    uv.answer(_sync_answers(venv, wheel, "check"))
    shim(variables, "sync", "--extra", "test", "--frozen", "--inexact")
    assert is_linked(venv)
    export = next(call["given"] for call in uv.calls if "export" in call["given"])
    assert {"--extra", "--frozen"} < set(export)
    assert "--inexact" not in export
    assert uv.calls[-1]["given"] == ["sync", "--extra", "test", "--frozen", "--inexact"]


def test_sync_has_uv_make_the_environment_and_install_nothing(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    uv.answer(_sync_answers(venv, wheel, "create"))
    shim(variables, "sync", "--frozen")
    assert is_linked(venv)
    assert uv.calls[1]["given"] == [
        "sync",
        *("--no-install-package", "sample"),
        *("--no-install-package", "proj"),
        "--frozen",
    ]


def test_sync_builds_what_must_not_come_from_wheels(
    uv: FakeUv, variables: dict[str, str], venv: Path, wheel: Path
) -> None:
    answers = _sync_answers(venv, wheel, "check")
    uv.answer(answers | {"show": {"out": " no_binary: All,\n"}})
    shim(variables, "sync")
    assert not is_linked(venv)


def test_command_lines_are_left_as_they_are() -> None:
    given: Sequence[str] = [
        "-q",
        "pip",
        "install",
        "--index-url=x",
        "-r",
        "y",
        "--",
        "-z",
    ]
    command = arguments.parse(given)
    assert command is not None
    assert command.words() == tuple(given)
