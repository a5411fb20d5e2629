"""``commonwheel verify`` and ``repair`` with a real pip, and wheels of the index."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import interpreters
from commonwheel.files import remove_tree
from conftest import Make
from environments import Environment, run
from wheelhouse import Wheelhouse
from workplace import Completed

WANTED = ("numpy", "certifi")


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Path:
    """The wheels of :data:`WANTED`, from the index."""
    folder = tmp_path_factory.mktemp("downloaded")
    version = ".".join(map(str, _version(python)))
    command = (*("-m", "pip", "download", "-q", "--no-deps", "-d", folder),)
    only = ("--only-binary=:all:", "--python-version", version)
    run([sys.executable, *command, *only, *WANTED])
    return folder


def _version(python: Path) -> Sequence[int]:
    code = "import json, sys; print(json.dumps(sys.version_info[:2]))"
    found: list[int] = json.loads(run([python, "-c", code]).stdout)
    return found


class Repairs:
    """An environment with :data:`WANTED`, that pip has linked from the index."""

    def __init__(self, environment: Environment, tmp_path: Path) -> None:
        self.environment = environment
        # the index that is configured for these tests, and a cache of its own
        self.variables = {
            **{k: v for k, v in os.environ.items() if k.startswith("PIP_")},
            "PIP_CACHE_DIR": str(tmp_path / "pip-cache"),
        }
        if "PIP_CONFIG_FILE" not in os.environ:
            home = {"HOME": str(Path.home())}
            self.variables |= home
            del environment.variables["PIP_CONFIG_FILE"]
        self.environment.pip(
            "install", "--use-shared-store", *WANTED, variables=self.variables
        )

    def command(
        self, *arguments: object, check: bool = True, store: str | None = None
    ) -> Completed:
        """Run ``commonwheel``, of the environment that tests run in."""
        variables = dict(self.variables)
        if store is not None:
            variables["COMMONWHEEL_STORE"] = store
        command = (sys.executable, "-m", "commonwheel", *arguments)
        return self.environment.run(*command, variables=variables, check=check)

    def entry(self, name: str) -> Path:
        (found,) = self.environment.store.glob(f"entries/{name}-*")
        return found

    def is_right(self, path: Path | None = None) -> None:
        """Nothing is wrong, and what is linked works."""
        path = path or self.environment.path
        self.command("verify", path)
        code = (
            "import numpy, certifi; assert certifi.where(); print(numpy.arange(3).sum())"
        )
        said = self.environment.run(path / "bin/python", "-c", code).stdout
        assert said == "3\n"


@pytest.fixture
def repairs(make: Make, tmp_path: Path) -> Repairs:
    return Repairs(make(), tmp_path)


def overwrite(path: Path, text: str) -> None:
    """As root does, through whatever link leads there: in place."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(mode)


def test_ask_12_what_is_missing_or_damaged_comes_back_from_the_index(
    repairs: Repairs,
) -> None:
    remove_tree(repairs.entry("numpy"))
    overwrite(repairs.entry("certifi") / "tree/certifi/cacert.pem", "nobody")
    assert repairs.command("verify", repairs.environment.path, check=False).returncode
    planned = repairs.command("repair", repairs.environment.path, "--dry-run").stdout
    assert planned.count("would make anew") == 2
    repairs.command("repair", repairs.environment.path)
    repairs.is_right()
    again = repairs.command("repair", repairs.environment.path)
    assert "nothing to repair" in again.stderr


def test_ask_12_offline_it_takes_wheels_from_folders(
    repairs: Repairs, downloaded: Path
) -> None:
    remove_tree(repairs.entry("numpy"))
    (repairs.environment.site / "_commonwheel/view/certifi").unlink()
    refused = repairs.command(
        "repair", "--offline", repairs.environment.path, check=False
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "entries/numpy-" in line
    assert "pip install --use-shared-store --force-reinstall" in line
    assert "certifi: linked again" in refused.stdout
    repairs.command(
        "repair", "--offline", "--find-links", downloaded, repairs.environment.path
    )
    repairs.is_right()


def test_ask_12_a_sound_entry_of_another_store_of_the_chain_is_taken(
    repairs: Repairs, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(repairs.environment.store, other, symlinks=True)
    remove_tree(repairs.entry("numpy"))
    chain = f"{repairs.environment.store}{os.pathsep}{other}"
    repairs.command("repair", "--offline", repairs.environment.path, store=chain)
    repairs.is_right()


def test_ask_12_a_store_is_repaired_for_all_its_environments(
    repairs: Repairs,
) -> None:
    remove_tree(repairs.entry("numpy"))
    (repairs.entry("certifi") / "entry.json").unlink()
    repairs.command("repair", repairs.environment.store)
    repairs.command("verify", repairs.environment.store)
    repairs.is_right()


def test_ask_12_an_environment_that_was_moved_works_where_it_is(
    repairs: Repairs, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    repairs.environment.path.rename(moved)
    script = moved / "bin/numpy-config"
    with pytest.raises(FileNotFoundError):  # its interpreter
        run([script, "--version"])
    repairs.command("repair", moved)
    assert run([script, "--version"]).stdout
    repairs.is_right(moved)


@pytest.mark.parametrize("name", ["w", "with a blank"])
def test_ask_12_a_pip_that_was_copied_works_where_its_environment_is(
    python: Path, wheelhouse: Wheelhouse, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "v"
    run([python, "-m", "venv", path])
    environment = Environment(path, tmp_path / "store")
    six, packaging = (
        next(wheelhouse.folder.glob(f"{n}-*")) for n in ("six", "packaging")
    )
    command = (sys.executable, "-m", "commonwheel")
    environment.run(*command, "install", "--python", environment.python, six)
    moved = path.rename(tmp_path / name)
    with pytest.raises(FileNotFoundError):  # its interpreter
        run([moved / "bin/pip", "--version"])
    environment.run(*command, "repair", "--offline", moved)
    assert str(moved) in environment.run(moved / "bin/pip", "--version").stdout
    environment.run(moved / "bin/pip", "install", "--no-index", packaging)
    shell = f". '{moved}/bin/activate'; printf '%s\\n' \"$VIRTUAL_ENV\"; command -v pip;"
    shell += "python -c 'import packaging, six, sys; print(sys.prefix)'"
    answer = environment.run("bash", "-c", shell).stdout
    assert answer.splitlines() == [str(moved), f"{moved}/bin/pip", str(moved)]
    record = next(moved.glob("lib/*/site-packages/pip-*.dist-info/RECORD")).read_text()
    digest = hashlib.sha256((moved / "bin/pip").read_bytes()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") in record
    again = environment.run(*command, "repair", "--offline", moved)
    assert "nothing to repair" in again.stderr
    assert not any(
        bytes(path) + b"/" in each.read_bytes()
        for each in (moved / "bin").iterdir()
        if not each.is_symlink()
    )


def test_ask_12_an_environment_whose_python_was_upgraded(
    repairs: Repairs, tmp_path: Path
) -> None:
    path = repairs.environment.path
    for name in ("python", "python3", "python3.12"):
        (path / "bin" / name).unlink()
        (path / "bin" / name).symlink_to("/nowhere/python")
    refused = repairs.command("repair", path, check=False)
    assert refused.returncode == 1
    assert f"commonwheel repair {path} --python PY" in refused.stderr
    newer = interpreters.require("3.13")
    answer = repairs.command("repair", path, "--python", newer, check=False)
    assert answer.returncode == 1  # numpy is for the Python that was there
    assert "certifi: linked again" in answer.stdout
    assert "numpy" in answer.stderr
    assert "numpy==" in answer.stderr
    assert f"{path}/lib/python3.12 is of another Python" in answer.stderr
    code = "import certifi, sys; print(certifi.__name__, sys.version_info[:2])"
    said = repairs.environment.run(path / "bin/python", "-c", code).stdout
    assert said == "certifi (3, 13)\n"
    repairs.command("verify", path)


def test_ask_09_who_is_not_root_cannot_write_to_an_entry(
    repairs: Repairs,
) -> None:
    path = repairs.environment.site / "_commonwheel/view/certifi/core.py"
    before = path.read_bytes()
    code = f"open({str(path)!r}, 'a').write('# mine')"
    # whoever owns the files, without the superuser's right to write to all of them
    powerless = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    as_user: tuple[str, ...] = powerless if os.geteuid() == 0 else ()
    answer = repairs.environment.run(
        *as_user, repairs.environment.python, "-c", code, check=False
    )
    assert "PermissionError" in answer.stderr
    assert path.read_bytes() == before
    repairs.is_right()


def test_ask_09_an_edit_that_root_makes_is_found_and_who_sees_it_is_said(
    repairs: Repairs, make: Make
) -> None:
    other = make("other")
    other.pip("install", "--use-shared-store", "certifi", variables=repairs.variables)
    edited = repairs.environment.site / "_commonwheel/view/certifi/core.py"
    overwrite(edited, "")
    answer = repairs.command("verify", other.path, check=False)
    assert answer.returncode == 1
    (line,) = answer.stdout.splitlines()
    assert "tree/certifi/core.py was changed" in line
    assert str(other.path) in line
    assert str(repairs.environment.path) in line
    repairs.command("repair", other.path)
    assert repairs.environment.code("import certifi; print(bool(certifi.where()))")
    repairs.is_right()
