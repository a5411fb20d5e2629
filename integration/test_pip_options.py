"""The options: where they can be given, and that nothing happens without them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import Environment, Templates, Tree
from wheelhouse import NEWEST_PIP, Sample, Wheelhouse, write_wheel

STARTED = {
    "commonwheel",
    "commonwheel.frontends",
    "commonwheel.frontends._commonwheel_pip",
}
"""All of commonwheel that is ever imported into pip; `pip_hook` is loaded by its path."""

Make = Callable[..., Environment]


@pytest.fixture(scope="module", params=["23.2", NEWEST_PIP])
def shared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    templates: Templates,
    python: Path,
) -> Environment:
    """An environment that tests install the same module into, again and again."""
    root = tmp_path_factory.mktemp("options")
    return templates.make(root / "environment", python, request.param)


@pytest.fixture
def wheel(sample: Sample) -> Path:
    return sample.folder / "sample_module-1.0-py3-none-any.whl"


def _configure(environment: Environment, text: str) -> dict[str, str]:
    path = environment.home / "pip.conf"
    path.write_text(text)
    return {"PIP_CONFIG_FILE": str(path)}


ON = "use-shared-store = true\n"
OFF = "use-shared-store = false\n"
FACES = {
    "nothing": ((), {}, "", False),
    "flag": (("--use-shared-store",), {}, "", True),
    "flag and its opposite": (
        ("--use-shared-store", "--no-use-shared-store"),
        {},
        "",
        False,
    ),
    "opposite, then flag": (
        ("--no-use-shared-store", "--use-shared-store"),
        {},
        "",
        True,
    ),
    "variable 1": ((), {"PIP_USE_SHARED_STORE": "1"}, "", True),
    "variable yes": ((), {"PIP_USE_SHARED_STORE": "yes"}, "", True),
    "variable 0": ((), {"PIP_USE_SHARED_STORE": "0"}, "", False),
    "conf of install": ((), {}, f"[install]\n{ON}", True),
    "conf of all commands": ((), {}, f"[global]\n{ON}", True),
    "conf says no": ((), {}, f"[install]\n{OFF}", False),
    "conf of install over that of all": (
        (),
        {},
        f"[global]\n{ON}[install]\n{OFF}",
        False,
    ),
    "variable 0 over conf": (
        (),
        {"PIP_USE_SHARED_STORE": "0"},
        f"[install]\n{ON}",
        False,
    ),
    "variable 1 over conf": (
        (),
        {"PIP_USE_SHARED_STORE": "1"},
        f"[install]\n{OFF}",
        True,
    ),
    "opposite over conf": (("--no-use-shared-store",), {}, f"[install]\n{ON}", False),
    "opposite over variable": (
        ("--no-use-shared-store",),
        {"PIP_USE_SHARED_STORE": "1"},
        "",
        False,
    ),
    "flag over conf": (("--use-shared-store",), {}, f"[global]\n{OFF}", True),
    "isolated": (("--isolated",), {"PIP_USE_SHARED_STORE": "1"}, "", False),
    "isolated and flag": (("--isolated", "--use-shared-store"), {}, "", True),
}


@pytest.mark.parametrize("face", FACES)
def test_the_store_is_used_where_flag_variable_or_configuration_say_so(
    face: str, shared: Environment, wheel: Path
) -> None:
    arguments, variables, conf, linked = FACES[face]
    configured = _configure(shared, conf)
    shared.pip(
        *("install", "--no-index", "--force-reinstall", *arguments, wheel),
        variables={**configured, **variables},
    )
    assert shared.is_linked("sample-module") == linked
    assert shared.can_import("sample_module")


@pytest.mark.parametrize("source", ["flag", "variable", "conf", "home", "default"])
def test_the_store_is_where_the_nearest_setting_says(
    source: str, shared: Environment, wheel: Path, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    arguments: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    if source == "flag":
        # over the variable, and relative to the current folder
        arguments = ("--shared-store-path", "given")
        variables = {"PIP_SHARED_STORE_PATH": str(tmp_path / "other")}
    elif source == "variable":
        variables = {"PIP_SHARED_STORE_PATH": str(given)}
    elif source == "conf":
        variables = _configure(shared, f"[global]\nshared-store-path = {given}\n")
    elif source == "home":
        given = shared.home / "given"
        variables = _configure(shared, "[install]\nshared-store-path = ~/given\n")
    else:
        given = shared.home / ".local/share/commonwheel/store"
        variables = {"COMMONWHEEL_STORE": ""}
    shared.pip(
        *("install", "--no-index", "--force-reinstall", "--use-shared-store"),
        *(*arguments, wheel),
        variables=variables,
        cwd=tmp_path,
    )
    assert [entry.name[:17] for entry in (given / "entries").iterdir()] == [
        "sample_module-1.0"
    ]
    assert shared.can_import("sample_module")
    assert not (tmp_path / "other").exists()


def test_help_shows_the_options(shared: Environment) -> None:
    text = shared.pip("install", "--help").stdout
    for option in ("--use-shared-store", "--no-use-shared-store", "--shared-store-path"):
        assert f"  {option}" in text


@pytest.mark.parametrize("conf", ["", "[install]\nno-use-shared-store = true\n"])
def test_the_negated_setting_is_refused_because_pip_would_take_it_for_yes(
    conf: str, shared: Environment, wheel: Path
) -> None:
    variables = _configure(shared, conf) if conf else {"PIP_NO_USE_SHARED_STORE": "1"}
    answer = shared.pip("install", "--no-index", wheel, variables=variables, check=False)
    assert answer.returncode == 2
    assert "PIP_USE_SHARED_STORE=0" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_value_that_is_neither_yes_nor_no_is_a_usage_error(
    shared: Environment, wheel: Path
) -> None:
    variables = {"PIP_USE_SHARED_STORE": "maybe"}
    answer = shared.pip("install", "--no-index", wheel, variables=variables, check=False)
    assert answer.returncode == 2
    assert "maybe is not a valid value for use-shared-store" in answer.stderr


def test_commands_that_do_not_install_take_no_notice(
    environment: Environment, sample: Sample, wheel: Path, tmp_path: Path
) -> None:
    conf = f"[global]\n{ON}shared-store-path = {tmp_path / 'given'}\n"
    variables = _configure(environment, conf)
    offline = ("--no-index", "--find-links", sample.folder)
    environment.pip(
        "download",
        *offline,
        "-d",
        tmp_path / "downloaded",
        "sample-pure",
        variables=variables,
    )
    environment.pip(
        "wheel", *offline, "-w", tmp_path / "wheels", "sample-pure", variables=variables
    )
    environment.pip(
        "lock",
        *offline,
        "-o",
        tmp_path / "pylock.toml",
        "sample-module",
        variables=variables,
    )
    for command in (["list"], ["freeze"], ["check"], ["config", "list"], ["hash", wheel]):
        environment.pip(*command, variables=variables)
    assert len(list((tmp_path / "downloaded").iterdir())) == 2
    assert not (tmp_path / "given").exists()
    assert not environment.store.exists()


def test_a_dry_run_touches_neither_environment_nor_store(
    environment: Environment, wheel: Path
) -> None:
    before = environment.tree()
    answer = environment.install("--dry-run", wheel)
    assert "Would install sample-module-1.0" in answer.stdout
    assert environment.tree() == before
    assert not environment.store.exists()


@pytest.mark.parametrize("pip", ["23.2", "24.3", NEWEST_PIP])
def test_without_the_option_pip_does_what_it_does_without_commonwheel(
    pip: str, make: Make, sample: Sample, python: Path
) -> None:
    def added(commonwheel: bool) -> Tree:
        # in the same place, so that scripts are the same
        environment = make(pip=pip, commonwheel=commonwheel)
        before = environment.tree()
        environment.install(*sample.names, wheels=sample.folder, linked=False)
        now = environment.tree()
        shutil.rmtree(environment.path)
        return {path: kind for path, kind in now.items() if path not in before}

    assert added(commonwheel=True) == added(commonwheel=False)


def test_nothing_of_the_engine_is_ever_imported_into_pip(
    environment: Environment, wheel: Path
) -> None:
    def imported(*command: object) -> set[str]:
        answer = environment.run(environment.python, "-X", "importtime", *command)
        lines = (line for line in answer.stderr.splitlines() if "import time:" in line)
        return {line.rpartition("|")[2].strip() for line in lines}

    def of_ours(names: set[str]) -> set[str]:
        needed = {"filelock", "installer", "packaging", "platformdirs", "rich"}
        return {name for name in names if name.partition(".")[0] in needed} | {
            name for name in names if name.startswith("commonwheel")
        }

    assert of_ours(imported("-c", "pass")) == STARTED
    install = ("-m", "pip", "install", "--no-index", "--force-reinstall", wheel)
    assert of_ours(imported(*install)) == STARTED
    assert of_ours(imported(*install, "--use-shared-store")) == STARTED


TAMPERINGS = {
    "renamed parameter": ("operations/install/wheel.py", r"\bwheel_path\b", "wheel_file"),
    "renamed function": (
        "operations/install/wheel.py",
        r"\binstall_wheel\b",
        "put_wheel",
    ),
    "renamed class": ("operations/install/wheel.py", r"\bPipScriptMaker\b", "Maker"),
    "renamed command": ("commands/install.py", r"\brun\(self", "carry_out(self"),
}


@pytest.mark.parametrize("pip", ["23.2", NEWEST_PIP])
@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_pip_that_is_not_recognised_is_left_alone(
    tampering: str, pip: str, make: Make, wheel: Path
) -> None:
    environment = make(pip=pip)
    file, old, new = TAMPERINGS[tampering]
    internal = environment.site / "pip/_internal"
    for path in (internal / file, internal / "req/req_install.py"):
        path.write_text(re.sub(old, new, path.read_text()))
    if new == "carry_out(self":
        path = internal / "cli/base_command.py"
        path.write_text(re.sub(r"self\.run\b", "self.carry_out", path.read_text()))

    assert "--use-shared-store" not in environment.pip("install", "--help").stdout
    answer = environment.install(wheel, linked=False)
    assert answer.stderr == "" or "Traceback" not in answer.stderr
    assert (environment.site / "sample_module.py").is_file()
    answer = environment.install(wheel, check=False)
    assert answer.returncode == 2
    assert "no such option: --use-shared-store" in answer.stderr


def test_a_pip_without_commonwheel_knows_no_such_option(make: Make, wheel: Path) -> None:
    environment = make()
    environment.remove_commonwheel()
    answer = environment.install(wheel, check=False)
    assert answer.returncode == 2
    assert "no such option" in answer.stderr
    # settings are another matter: pip takes no notice of those it does not know
    environment.install(wheel, linked=False, variables={"PIP_USE_SHARED_STORE": "1"})
    assert (environment.site / "sample_module.py").is_file()


@pytest.fixture
def broken_commonwheel(environment: Environment) -> Environment:
    """An environment whose commonwheel lacks something that it depends on."""
    shutil.rmtree(environment.site / "platformdirs")
    return environment


def test_a_commonwheel_that_cannot_be_imported_says_so_only_when_it_is_asked_for(
    broken_commonwheel: Environment, wheel: Path
) -> None:
    broken_commonwheel.install(wheel, linked=False)
    answer = broken_commonwheel.install("--force-reinstall", wheel, check=False)
    assert answer.returncode == 1
    assert "commonwheel is not usable: No module named 'platformdirs'" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert broken_commonwheel.can_import("sample_module")


def test_several_wheels_of_one_command_are_all_linked(
    environment: Environment, wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    requires = write_wheel(
        tmp_path / "wheels", "many", "1", {"many.py": ""}, requires=("six", "idna")
    )
    environment.install(requires, wheels=wheelhouse.folder)
    assert all(environment.is_linked(name) for name in ("many", "six", "idna"))
    assert (environment.site / "many-1.dist-info/REQUESTED").is_file()
    assert not list(environment.site.glob("six-*.dist-info/REQUESTED"))


def test_pip_says_what_was_linked_and_to_which_store(
    environment: Environment, sample: Sample
) -> None:
    options = ("--no-deps", "sample-pure==1.0")
    answer = environment.install(*options, wheels=sample.folder)
    assert f"Linked 1 distribution to the store {environment.store}\n" in answer.stdout
