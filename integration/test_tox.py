"""tox with ``use_shared_store``: what is linked, and what stays as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import interpreters
from environments import copy_environment, quiet_variables, run, tree
from wheelhouse import Wheelhouse, write_wheel

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "demo"
version = "1.0"
dependencies = ["idna"]
[project.optional-dependencies]
more = ["attrs"]
[tool.hatch.build.targets.wheel]
packages = ["src/demo"]
"""

ONE = """
[testenv]
skip_install = true
deps = six
commands = python -c "import six"
"""


@dataclass
class Project:
    """A folder that tox is run in."""

    path: Path
    host: Path
    """The environment that tox is installed in."""
    variables: dict[str, str] = field(repr=False)

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)

    def tox(
        self, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        command = [self.host / "bin/tox", *arguments]
        env = {**self.variables, **variables}
        return run(command, check=check, cwd=self.path, env=env)

    def site(self, name: str) -> Path:
        (found,) = (self.path / ".tox" / name / "lib").glob("python*/site-packages")
        return found

    def linked(self, name: str) -> set[str]:
        """The distributions that an environment links to the store."""
        links = self.site(name).glob("_commonwheel/links/*.link")
        return {path.stem for path in links}

    def copied(self, name: str) -> set[str]:
        """The other distributions that it has."""
        there = {path.name for path in self.site(name).glob("*.dist-info")}
        names = {each.partition("-")[0].replace("_", "-") for each in there}
        return names - self.linked(name)


@pytest.fixture(scope="session")
def plain_host(
    tmp_path_factory: pytest.TempPathFactory, python: Path, wheelhouse: Wheelhouse
) -> Path:
    """An environment with tox."""
    path = tmp_path_factory.mktemp("plain") / "host"
    run([python, "-m", "venv", path])
    run([path / "bin/pip", "install", "--find-links", wheelhouse.folder, "tox"])
    return path


@pytest.fixture(scope="session")
def host(
    tmp_path_factory: pytest.TempPathFactory, plain_host: Path, wheelhouse: Wheelhouse
) -> Path:
    """An environment with tox and commonwheel."""
    path = tmp_path_factory.mktemp("ours") / "host"
    copy_environment(plain_host, path)
    offline = ("--no-index", "--find-links", wheelhouse.folder)
    run([path / "bin/pip", "install", *offline, wheelhouse.commonwheel])
    return path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with virtualenv's cache, and a store."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def project(tmp_path: Path, host: Path, home: Path, wheelhouse: Wheelhouse) -> Project:
    variables = quiet_variables(home)
    for name in [each for each in variables if each.startswith("TOX_")]:
        del variables[name]
    variables |= {
        "COMMONWHEEL_STORE": str(home / "store"),
        "PIP_FIND_LINKS": str(wheelhouse.folder),
        "PIP_NO_INDEX": "1",
    }
    path = tmp_path / "project"
    path.mkdir()
    return Project(path, host, variables)


@pytest.fixture
def packaged(project: Project) -> Project:
    """One that has a package, ``demo``."""
    project.write({"pyproject.toml": PYPROJECT, "src/demo/__init__.py": ""})
    return project


def test_ask_22_every_environment_of_tox_is_linked(packaged: Project) -> None:
    tool_tox = """
[tool.tox]
use_shared_store = true
env_list = ["wheel", "sdist", "editable", "develop", "skip", "constrained", "hashes"]
[tool.tox.env_run_base]
deps = ["six"]
commands = [["python", "-c", "import demo, six, idna; print('at', demo.__file__)"]]
[tool.tox.env.wheel]
package = "wheel"
extras = ["more"]
[tool.tox.env.editable]
package = "editable"
[tool.tox.env.develop]
use_develop = true
[tool.tox.env.skip]
skip_install = true
commands = [["python", "-c", "import six"]]
[tool.tox.env.constrained]
constrain_package_deps = true
use_frozen_constraints = true
[tool.tox.env.hashes]
deps = ["-r requirements.txt"]
"""
    folder = packaged.variables["PIP_FIND_LINKS"]
    (six,) = Path(folder).glob("six-*.whl")
    digest = run([packaged.host / "bin/pip", "hash", six]).stdout.split()[-1]
    locked = f"six=={six.name.split('-')[1]} {digest}\n"
    files = {"pyproject.toml": PYPROJECT + tool_tox, "requirements.txt": locked}
    packaged.write(files)
    full = {"pip", "six", "idna", "demo"}
    expected = {
        "wheel": full | {"attrs"},
        "sdist": full,
        "editable": full - {"demo"},
        "develop": full - {"demo"},
        "skip": {"pip", "six"},
        "constrained": full,
        "hashes": full,
    }
    for arguments in (("-p", "auto"), ("-p", "auto", "--recreate")):
        packaged.tox(*arguments)
        assert {name: packaged.linked(name) for name in expected} == expected
        assert packaged.linked(".pkg") >= {"pip", "hatchling", "pluggy"}
        assert not packaged.copied("wheel") | packaged.copied(".pkg")
        assert packaged.copied("editable") == packaged.copied("develop") == {"demo"}
    # also when nothing is made anew: the package under test has changed
    packaged.write({"src/demo/new.py": ""})
    said = packaged.tox("run", "-e", "wheel,editable").stdout
    assert f"at {packaged.path}/src/demo/__init__.py" in said
    assert (packaged.site("wheel") / "_commonwheel/view/demo/new.py").exists()
    assert packaged.copied("editable") == {"demo"}
    assert "demo" not in packaged.linked("editable")


@pytest.mark.parametrize(
    ("files", "arguments", "variables", "linked"),
    [
        ({"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"}, (), {}, True),
        ({"tox.ini": f"{ONE}use_shared_store = true\n"}, (), {}, True),
        ({"tox.toml": "use_shared_store = true\n"}, (), {}, True),
        ({"tox.ini": ONE}, (), {"TOX_USE_SHARED_STORE": "1"}, True),
        ({"tox.ini": ONE}, ("--use-shared-store",), {}, True),
        ({"tox.ini": ONE}, (), {}, False),
        (
            {"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"},
            (),
            {"TOX_USE_SHARED_STORE": "0"},
            False,
        ),
        (
            {"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"},
            ("--no-use-shared-store",),
            {"TOX_USE_SHARED_STORE": "1"},
            False,
        ),
        (
            {
                "tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"
                "[testenv:py]\nuse_shared_store = false\n"
            },
            (),
            {},
            False,
        ),
    ],
)
def test_where_it_is_said(
    project: Project,
    files: dict[str, str],
    arguments: tuple[str, ...],
    variables: dict[str, str],
    linked: bool,
) -> None:
    if "tox.toml" in files:
        toml = '[env_run_base]\nskip_install = true\ndeps = ["six"]\n'
        files = {"tox.toml": files["tox.toml"] + toml}
    project.write(files)
    project.tox("run", "-e", "py", *arguments, **variables)
    both = {"six", "pip"}
    assert project.linked("py") == (both if linked else set())
    assert project.copied("py") == (set() if linked else both)


def test_off_is_exactly_plain_tox(
    packaged: Project, plain_host: Path, tmp_path: Path
) -> None:
    """Files, configuration and the variables of commands."""
    packaged.write(
        {
            "tox.ini": """
[testenv]
package = wheel
deps = six
commands = python -c "import os; print(dict(sorted(os.environ.items())))"
"""
        }
    )
    found = []
    fixed = ("--hashseed", "1")
    store = {"COMMONWHEEL_STORE": str(tmp_path / "store")}
    for host in (plain_host, packaged.host):
        packaged.host = host
        shutil.rmtree(packaged.path / ".tox", ignore_errors=True)
        said = packaged.tox("run", "-e", "py", "-q", *fixed, **store).stdout
        config = packaged.tox("config", *fixed).stdout.replace(str(host), "HOST")
        for file in (packaged.path / ".tox").glob("*/pyvenv.cfg"):
            file.write_text(file.read_text().replace(str(host), "HOST"))
        files = tree(packaged.path / ".tox")
        found.append((said, config, files))
    (said, config, files), (said_here, config_here, files_here) = found
    variables = [line for line in said.splitlines() if line.startswith("{")]
    assert variables == [x for x in said_here.splitlines() if x.startswith("{")] != []
    here = [e for e in config_here.splitlines() if not e.startswith("use_shared_store")]
    assert config.splitlines() == here
    both = files.keys() | files_here.keys()
    differ = {path for path in both if files.get(path) != files_here.get(path)}
    assert {path for path in differ if "/log/" not in path} == set()
    assert not (tmp_path / "store").exists()


def test_what_is_wrong_with_an_environment_that_is_not_run_does_not_matter(
    project: Project,
) -> None:
    broken = "[testenv:py39-conflict]\nbase_python = python3.12\nset_env = no line\n"
    project.write({"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}{broken}"})
    project.tox("run", "-e", "py")
    assert project.linked("py") == {"six", "pip"}


def test_commands_have_the_store_but_not_the_seeder(
    project: Project, tmp_path: Path
) -> None:
    """A virtualenv that a command runs has no such seeder."""
    project.write(
        {
            "tox.ini": """
[tox]
use_shared_store = true
[testenv]
skip_install = true
commands =
    python -c "import os; print(os.environ['COMMONWHEEL_STORE'], end='|')"
    python -c "import os; print(os.environ.get('VIRTUALENV_SEEDER'))"
    python -m pip install idna
"""
        }
    )
    store = {"COMMONWHEEL_STORE": str(tmp_path / "store")}
    done = project.tox("run", "-e", "py", "-q", **store)
    assert f"{tmp_path}/store|None\n" in done.stdout
    assert project.linked("py") == {"pip", "idna"}
    assert len(entries(tmp_path / "store")) == 2


def entries(store: Path) -> set[Path]:
    return set((store / "entries").iterdir())


def test_what_the_user_says_wins(project: Project, tmp_path: Path) -> None:
    project.write(
        {
            "tox.ini": f"""
[tox]
use_shared_store = true
{ONE}
[testenv:pip]
set_env = PIP_USE_SHARED_STORE = 0
[testenv:seeder]
set_env = VIRTUALENV_SEEDER = app-data
[testenv:store]
set_env = COMMONWHEEL_STORE = {tmp_path}/other
"""
        }
    )
    project.tox("run", "-e", "pip,seeder,store")
    assert (project.linked("pip"), project.copied("pip")) == ({"pip"}, {"six"})
    assert (project.linked("seeder"), project.copied("seeder")) == ({"six"}, {"pip"})
    assert project.linked("store") == {"pip", "six"}
    assert len(entries(tmp_path / "other")) == 2
    project.tox("run", "-r", "-e", "py", PIP_USE_SHARED_STORE="0")
    assert project.copied("py") == {"six"}
    path = tmp_path / "third"
    project.tox("run", "-r", "-e", "py", PIP_SHARED_STORE_PATH=str(path))
    assert project.linked("py") == {"pip", "six"}
    assert len(entries(path)) == 2


def test_an_environment_older_than_the_setting_gets_it_with_the_next_installation(
    project: Project,
) -> None:
    project.write({"tox.ini": ONE})
    project.tox("run", "-e", "py")
    project.write(
        {
            "tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}".replace(
                "six\n", "six\n idna\n", 1
            )
        }
    )
    project.tox("run", "-e", "py")
    assert (project.linked("py"), project.copied("py")) == ({"idna"}, {"six", "pip"})


def test_the_commonwheel_that_made_it_is_gone(project: Project, tmp_path: Path) -> None:
    copy_environment(project.host, tmp_path / "moved")
    host, project.host = project.host, tmp_path / "moved"
    project.write({"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"})
    project.tox("run", "-e", "py")
    shutil.rmtree(project.host)
    environment = project.path / ".tox/py"
    install = [environment / "bin/python", "-m", "pip", "install", "idna"]
    on = {**project.variables, "PIP_USE_SHARED_STORE": "1"}
    failed = run(install, check=False, env=on, cwd=tmp_path)
    assert failed.returncode == 1
    (error,) = [e for e in failed.stderr.splitlines() if e.startswith("ERROR")]
    assert str(project.host) in error
    assert f"commonwheel enable {environment}" in error
    assert len(failed.stderr.splitlines()) == 1
    run(install, env=project.variables, cwd=tmp_path)
    assert (project.linked("py"), project.copied("py")) == ({"pip", "six"}, {"idna"})
    # another tox with commonwheel mends it when it installs something
    project.host = host
    text = f"[tox]\nuse_shared_store = true\n{ONE}".replace("six\n", "six\n attrs\n", 1)
    project.write({"tox.ini": text})
    project.tox("run", "-e", "py")
    assert project.linked("py") == {"pip", "six", "attrs"}


def test_several_pythons(project: Project) -> None:
    """One too old for links is copied to, which is said once."""
    versions = ("3.8", "3.9", "3.12", "3.13")
    folders = [str(interpreters.require(version).parent) for version in versions]
    project.write({"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"})
    path = os.pathsep.join([*folders, project.variables["PATH"]])
    names = ["py" + version.replace(".", "") for version in versions]
    # tox fetches an older virtualenv for Python 3.8
    online = {key: os.environ[key] for key in os.environ if key.startswith("PIP_")}
    online["PIP_NO_INDEX"] = "0"
    done = project.tox("run", "-e", ",".join(names), PATH=path, **online)
    assert done.stdout.count("packages are copied") == 1, done.stdout
    assert "is too old" in done.stdout
    assert not project.linked("py38")
    for name in names[1:]:
        assert project.linked(name) >= {"pip", "six"}


def test_two_at_once(project: Project, tmp_path: Path) -> None:
    """Into a store that is not there yet."""
    write_wheel(
        tmp_path / "wheels", "many", "1.0", {f"many/m{n}.py": "" for n in range(300)}
    )
    project.write(
        {
            "tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}".replace(
                "six\n", f"six\n {tmp_path}/wheels/many-1.0-py3-none-any.whl\n", 1
            )
        }
    )
    command = [project.host / "bin/tox", "run", "-e", "py", "--workdir"]
    running = [
        subprocess.Popen(
            [*command, tmp_path / name],
            cwd=project.path,
            env={**project.variables, "COMMONWHEEL_STORE": str(tmp_path / "store")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert len(entries(tmp_path / "store")) == 3
    for name in ("one", "two"):
        links = (tmp_path / name / "py/lib").glob(
            "python*/site-packages/_commonwheel/links/*"
        )
        assert {path.stem for path in links} == {"many", "pip", "six"}


def test_tox_provides_itself_with_commonwheel(
    project: Project, plain_host: Path, wheelhouse: Wheelhouse
) -> None:
    """``requires = commonwheel`` is all that a project needs."""
    project.host = plain_host
    folder = project.variables["PIP_FIND_LINKS"]
    run([plain_host / "bin/pip", "download", "-d", folder, "--find-links", folder, "tox"])
    asked = "[tox]\nrequires = commonwheel\nuse_shared_store = true\n"
    project.write({"tox.ini": asked + ONE})
    project.tox("run", "-e", "py")
    assert project.linked("py") == {"pip", "six"}
    assert not (project.site(".tox") / "_commonwheel").exists()


def test_a_tox_without_commonwheel_is_not_disturbed_by_the_one_that_provides_it(
    project: Project, tmp_path: Path
) -> None:
    """The provided tox has no such seeder."""
    folder = project.variables["PIP_FIND_LINKS"]
    run(
        [
            project.host / "bin/pip",
            "download",
            "-d",
            folder,
            "--find-links",
            folder,
            "tox",
        ]
    )
    write_wheel(tmp_path / "wheels", "plugin", "1.0", {"plugin.py": ""})
    asked = "[tox]\nrequires = plugin\nuse_shared_store = true\n"
    project.write({"tox.ini": asked + ONE})
    links = f"{folder} {tmp_path}/wheels"
    for _ in ("cold", "warm"):
        project.tox("run", "-e", "py", PIP_FIND_LINKS=links)
        assert "tox" in project.linked(".tox")
        assert project.copied("py") == {"pip", "six"}
        shutil.rmtree(project.path / ".tox/py")


def test_environments_of_tox_uv_stay_as_they_are(
    project: Project, tmp_path: Path, wheelhouse: Wheelhouse
) -> None:
    copy_environment(project.host, tmp_path / "with-uv")
    project.host = tmp_path / "with-uv"
    run([project.host / "bin/pip", "install", "tox-uv"])
    project.write({"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"})
    uv = {"UV_FIND_LINKS": str(wheelhouse.folder), "UV_NO_INDEX": "1"}
    done = project.tox("run", "-e", "py", **uv)
    assert "not pip installs here" in done.stdout
    assert project.copied("py") == {"six"}


def test_doctor_is_content(project: Project) -> None:
    project.write({"tox.ini": f"[tox]\nuse_shared_store = true\n{ONE}"})
    project.tox("run", "-e", "py")
    doctor = [project.host / "bin/commonwheel", "doctor", project.path / ".tox/py"]
    assert "nothing is wrong" in run(doctor, env=project.variables).stderr
