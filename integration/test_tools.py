"""What people point at an environment gives the same result where packages are linked.

Each test runs a tool, in its current version, in two environments that hold the same
distributions (``pairs.py``), and compares what it says or does. The table at the end of
the test run shows all of it.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import DEFAULT_PYTHON, Compare
from debug_adapter import DebugAdapter, debug
from environments import Environment
from library import write_library
from pairs import Pair, Pairs

REAL = ("attrs", "jaraco.classes", "jaraco.functools", "markupsafe", "pyyaml", "six")
"""A typed package, a namespace of two, two with extensions, a module alone."""
LIBRARY = ("shelf", "shelf_extra")
CHECKERS = ("mypy", "pylint", "pyrefly", "pyright[nodejs]", "ty", "types-PyYAML", "jedi")
TESTERS = ("pytest", "pytest-cov", "pytest-xdist", "coverage")
INTERACTIVE = ("debugpy", "ipykernel", "ipython", "jupyter-client")
PACKAGERS = ("pip", "pip-audit", "pip-licenses", "pipdeptree", "pyinstaller")
SITE = f"ENV/lib/python{DEFAULT_PYTHON}/site-packages"

PROGRAM = """\
import attr
import jaraco.classes.properties
import jaraco.functools
import markupsafe._speedups
import shelf
import shelf.extra
import shelf_space.one
import shelf_space.two
import six
import yaml


def main():
    print(shelf.count(["Emma"]), shelf.call(shelf.extra.more))
    print(jaraco.functools.once(list)(), six.ensure_text("six"), yaml.safe_load("a: 1"))
    print(shelf_space.one.ONE, shelf_space.two.TWO, attr.asdict.__module__)
    print(yaml.__with_libyaml__, len(list(shelf_space.__path__)))


main()
"""
PRINTED = """\
1 more
[] six {'a': 1}
1 2 attr._funcs
True 1
"""

CHECKED = """\
from typing import reveal_type

import attr
import jaraco.classes.properties
import jaraco.functools
import markupsafe
import markupsafe._speedups
import shelf
import shelf.extra
import shelf.wrong
import shelf_space.two
import six
import yaml
import nothing_of_the_kind

reveal_type(attr.asdict)
reveal_type(jaraco.classes.properties.NonDataProperty)
reveal_type(jaraco.functools.once)
reveal_type(markupsafe.escape)
reveal_type(markupsafe._speedups)
reveal_type(shelf.count)
reveal_type(shelf.extra.more)
reveal_type(shelf.wrong.number)
reveal_type(shelf_space.two.TWO)
reveal_type(six.ensure_text)
reveal_type(yaml.safe_load)
reveal_type(nothing_of_the_kind)
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of :mod:`library`."""
    folder = tmp_path_factory.mktemp("library")
    write_library(folder)
    return folder


@pytest.fixture(scope="session")
def shown(library: Path) -> tuple[str, ...]:
    """The requirements that every tool is shown."""
    ours = [
        str(path) for path in sorted(library.glob("shelf*")) if "late" not in path.name
    ]
    return (*REAL, *(path for path in ours if "plugin" not in path))


@pytest.fixture(scope="session")
def bare(pairs: Pairs, shown: tuple[str, ...]) -> Pair:
    """For what comes with Python."""
    return pairs.of(*shown)


@pytest.fixture(scope="session")
def checkers(pairs: Pairs, shown: tuple[str, ...]) -> Pair:
    return pairs.of(*CHECKERS, *shown)


@pytest.fixture(scope="session")
def testers(pairs: Pairs, shown: tuple[str, ...], library: Path) -> Pair:
    return pairs.of(*TESTERS, *map(str, library.glob("shelf_plugin*")), *shown)


@pytest.fixture(scope="session")
def interactive(pairs: Pairs, shown: tuple[str, ...]) -> Pair:
    return pairs.of(*INTERACTIVE, *shown)


@pytest.fixture(scope="session")
def packagers(pairs: Pairs, shown: tuple[str, ...]) -> Pair:
    return pairs.of(*PACKAGERS, *shown)


def folder_of(environment: Environment, name: str, **files: str) -> Path:
    """A new folder in the environment's home, with Python files."""
    folder = environment.home / name
    folder.mkdir()
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text)
    return folder


def said(completed: subprocess.CompletedProcess[str]) -> str:
    """All that a program has said, without the width of columns."""
    text = completed.stdout + completed.stderr
    text = re.sub(r"[-=_]{3,}", "---", re.sub(r"[ \t]+", " ", text))
    return f"exit status {completed.returncode}\n{text}"


def code(environment: Environment, text: str, *options: str) -> Any:
    """What Python code prints in the environment, as JSON."""
    command = [environment.python, *options, "-c", text]
    return json.loads(environment.run(*command).stdout)


def state_of(store: Path) -> dict[str, int]:
    """When each file and folder of a store was changed."""
    paths = (store / "entries").rglob("*")
    return {str(path): path.lstat().st_mtime_ns for path in paths}


def amount(found: Any) -> str:
    """For a cell of the table: how much was found."""
    unit, parts = ("lines", found.splitlines()) if isinstance(found, str) else ("", found)
    return f"{len(parts)} {unit or 'found'}"


# --- tests and coverage -------------------------------------------------------------

TESTS = """\
import shelf
from shelf_plugin.checks import assert_sorted


def test_that_passes(books):
    assert shelf.count(books) == 2


def test_that_fails_in_a_plugin(books):
    assert_sorted(books)


def test_that_fails_here():
    assert shelf.count(["Emma"]) == 2
"""


def result_of_tests(text: str) -> str:
    return re.findall(r"\d+ (?:passed|failed).*", text)[-1]


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        ("pytest", []),
        ("pytest-xdist", ["-n2"]),
        ("pytest-cov", ["--cov=shelf", "--cov=test_books", "--cov-report=term-missing"]),
    ],
)
def test_pytest(tool: str, options: list[str], testers: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        folder = folder_of(environment, tool, test_books=TESTS)
        command = [environment.python, "-m", "pytest", "-rA", *options]
        text = said(environment.run(*command, cwd=folder, check=False))
        # in parallel, their order is a matter of chance
        return "\n".join(sorted(text.splitlines())) if tool == "pytest-xdist" else text

    text = compare(tool, testers, act, cell=result_of_tests)
    assert "2 failed, 1 passed" in text
    assert "assert ['Emma', 'Dracula'] == ['Dracula', 'Emma']" in text
    if tool == "pytest-cov":
        assert f"{SITE}/shelf/__init__.py" in text


def test_pytest_of_an_installed_package(testers: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        command = [environment.python, "-m", "pytest", "-v", "--pyargs", "shelf"]
        folder = folder_of(environment, "pyargs")
        return said(environment.run(*command, cwd=folder))

    version = testers.versions["pytest"]
    text = compare("pytest --pyargs", testers, act, version=version, cell=result_of_tests)
    assert "1 passed" in text


def test_pytest_keeps_rewritten_plugins_but_not_in_the_store(testers: Pair) -> None:
    environment = testers.linked
    before = state_of(environment.store)
    folder = folder_of(environment, "kept", test_books=TESTS)
    kept = []
    for _ in range(2):
        environment.run(environment.python, "-m", "pytest", cwd=folder, check=False)
        found = (environment.site / "_commonwheel/pytest").rglob("checks.*-pytest-*.pyc")
        kept.append([(path, path.stat().st_mtime_ns) for path in found])
    assert kept[0]
    assert kept[0] == kept[1]
    assert state_of(environment.store) == before


@pytest.mark.parametrize(
    "options",
    ["", "--source=shelf,six,shelf_space", "--source=. --omit=*/site-packages/*"],
    ids=["all", "packages", "folder"],
)
def test_coverage(options: str, testers: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        folder = environment.home / "coverage"
        folder.mkdir(exist_ok=True)
        (folder / "program.py").write_text(PROGRAM)
        coverage = [environment.python, "-m", "coverage"]
        arguments = ("--branch", *options.split(), "program.py")
        environment.run(*coverage, "run", *arguments, cwd=folder)
        text = environment.run(*coverage, "report", "--show-missing", cwd=folder)
        environment.run(*coverage, "html", cwd=folder)
        return said(text)

    version = testers.versions["coverage"]
    title = f"coverage {options.partition(' ')[0]}"
    text = compare(title, testers, act, version=version)
    if options.startswith("--source=shelf"):
        for name in ("shelf/__init__.py", "shelf/tests/test_shelf.py", "six.py"):
            assert f"{SITE}/{name}" in text
    else:
        assert "program.py" in text
        assert "site-packages" not in text


# --- types and names ----------------------------------------------------------------

UNRESOLVED = re.compile(
    r"[(\[](import-not-found|import-error|missing-import|reportMissingImports)[)\]]"
)
COMMANDS = {
    "mypy": ("mypy", "--strict", "--no-color-output"),
    "pylint": ("pylint", "--disable=missing-docstring"),
    "pyrefly": (
        *("pyrefly", "check", "--preset=strict"),
        *("--output-format=min-text", "--min-severity=info"),
    ),
    "pyright": ("pyright",),
    "ty": ("ty", "check", "--output-format=concise", "--color=never"),
}
OUTSIDE = {
    "mypy": "--python-executable",
    "pyrefly": "--python-interpreter-path",
    "pyright": "--pythonpath",
    "ty": "--python",
}
"""How to tell a checker that is installed elsewhere of an environment's interpreter."""


def check(tool: str, environment: Environment, *options: object, by: Environment) -> str:
    """What a checker says of :data:`CHECKED`, run in one environment for another."""
    command, *usual = COMMANDS[tool]
    folder = folder_of(environment, f"{tool}-{len(options)}", checked=CHECKED)
    path = f"{by.path}/bin:{by.variables['PATH']}"
    variables = {"VIRTUAL_ENV": str(by.path), "PATH": path}
    arguments = (*usual, *options, "checked.py")
    done = environment.run(
        by.path / "bin" / command,
        *arguments,
        cwd=folder,
        variables=variables,
        check=False,
    )
    return said(done)


def result_of_check(text: str) -> str:
    return re.findall(r".*\b(?:\d+ (?:error|diagnostic)|rated at).*", text)[-1]


@pytest.mark.parametrize("tool", COMMANDS)
def test_ask_14_checker(tool: str, checkers: Pair, compare: Compare) -> None:
    text = compare(
        tool, checkers, lambda each: check(tool, each, by=each), cell=result_of_check
    )
    assert len(UNRESOLVED.findall(text)) == 1
    assert "nothing_of_the_kind" in text
    assert tool == "pylint" or "() -> str" in text


@pytest.mark.parametrize("tool", OUTSIDE)
def test_checker_from_outside(tool: str, checkers: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        options = (OUTSIDE[tool], environment.python)
        return check(tool, environment, *options, by=checkers.plain)

    title, version = f"{tool} {OUTSIDE[tool]}", checkers.versions[tool]
    text = compare(title, checkers, act, version=version, cell=result_of_check)
    assert len(UNRESOLVED.findall(text)) == 1
    assert "nothing_of_the_kind" in text
    assert "() -> str" in text


LOOK_WITH_JEDI = """
import json, pathlib, sys
import jedi

project = jedi.Project(".", environment_path=sys.argv[1] if sys.argv[1:] else None)
source = pathlib.Path("checked.py").read_text()
script = jedi.Script(source, path="checked.py", project=project)
found = {}

def described(names):
    return [[n.full_name, n.type, n.line, str(n.module_path)] for n in names]

for number, line in enumerate(source.splitlines(), 1):
    if line.startswith("reveal_type("):
        place = number, len(line) - 2
        found[line] = [
            described(script.infer(*place)),
            described(script.goto(*place, follow_imports=True)),
            [each.docstring() for each in script.help(*place)],
        ]
for text in ("import shel", "import shelf.", "from shelf import ", "import jar",
             "from jaraco.", "from shelf_space import ", "import markupsafe._sp",
             "import six; six.ens", "import yaml; yaml.safe", "import shelf; shelf.cou"):
    completions = jedi.Script(text, project=project).complete()
    found[text] = [each.name for each in completions]
print(json.dumps(found))
"""


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_jedi(place: str, checkers: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> Any:
        folder = folder_of(environment, f"jedi-{place}", checked=CHECKED)
        where = environment if place == "inside" else checkers.plain
        command = [where.python, "-c", LOOK_WITH_JEDI]
        command += [environment.path] if place == "outside" else []
        text = environment.run(*command, cwd=folder).stdout
        # what jedi itself brings along
        return json.loads(re.sub('[^"]*/jedi/third_party', "TYPESHED", text))

    title, version = f"jedi, {place}", checkers.versions["jedi"]
    found = compare(title, checkers, act, version=version, cell=amount)
    (inferred,), _, _ = found["reveal_type(shelf.extra.more)"]
    assert inferred == ["shelf.extra.more", "function", 1, f"{SITE}/shelf/extra.py"]
    assert {"extra", "tests", "wrong"} <= set(found["import shelf."])
    assert found["from jaraco."] == ["classes", "functools"]


# --- sessions and debuggers ---------------------------------------------------------

COMPLETE = """
import json
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("import shelf.extra, six, yaml")
found = {}
for text in ("import she", "import shelf.", "from shelf import ", "from shelf import ex",
             "import jar", "from jaraco.", "import markupsafe._", "import _yam",
             "six.ensure_", "yaml.nodes.", "shelf."):
    with provisionalcompleter():
        completions = shell.Completer.completions(text, len(text))
        found[text] = sorted({each.text for each in completions})
    found[f"{text} (old)"] = sorted(shell.complete(text.split()[-1], line=text)[1])
found["source"] = shell.object_inspect("shelf.extra.more", detail_level=1)["source"]
print(json.dumps(found))
"""


def test_ipython(interactive: Pair, compare: Compare) -> None:
    found = compare(
        "ipython", interactive, lambda each: code(each, COMPLETE), cell=amount
    )
    assert found["import she"][:2] == ["shelf", "shelf_space"]
    assert {"extra", "tests", "wrong"} <= set(found["from shelf import "])
    assert found["six.ensure_"] == ["ensure_binary", "ensure_str", "ensure_text"]
    assert "more" in found["source"]


KERNEL = """
import json, sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel()
for line in sys.stdin:
    printed = []
    def show(message):
        content = message["content"]
        printed.append(content.get("text") or content.get("evalue"))
    reply = client.execute_interactive(json.loads(line), timeout=60, output_hook=show)
    text = "".join(filter(None, printed))
    completions = client.complete("import shelf_", reply=True, timeout=60)["content"]
    print(json.dumps([reply["content"]["status"], text, completions["matches"]]))
    sys.stdout.flush()
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


def test_jupyter_kernel_sees_what_is_installed_while_it_runs(
    interactive: Pair, pairs: Pairs, library: Path, tmp_path: Path, compare: Compare
) -> None:
    pair = interactive.copy(tmp_path)
    (late,) = library.glob("shelf_late-*")

    def act(environment: Environment) -> Any:
        process = subprocess.Popen(
            [environment.python, "-c", KERNEL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment.variables,
        )
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(cell: str) -> Any:
            process.stdin.write(f"{json.dumps(cell)}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        late_names = ("shelf_late", "shelf.late", "shelf_space.late")
        found = [ask("import shelf.extra, shelf_space.one"), ask("import shelf_late")]
        if environment is pair.plain:
            pairs.copy_into(environment, late)
        else:
            pairs.link_into(environment, late)
        found += [ask(f"import {name}; print({name}.__file__)") for name in late_names]
        version = "import importlib.metadata as m; print(m.version('shelf-late'))"
        found.append(ask(version))
        process.communicate()
        return found

    found = compare("ipykernel", pair, act, cell=amount)
    assert [status for status, *_ in found] == ["ok", "error", "ok", "ok", "ok", "ok"]
    assert found[2] == ["ok", f"{SITE}/shelf_late.py\n", ["shelf_late", "shelf_space"]]


PDB_COMMANDS = """\
b shelf/__init__.py:9
b six.ensure_text
tbreak program.py:14
c
b shelf.extra.more
b jaraco.functools.once
b jaraco/functools/__init__.py:33
b
c
w
l
args
p books, number
n
c
w
source shelf.extra.more
c
w
q
"""


def test_pdb(bare: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        folder = folder_of(environment, "pdb", program=PROGRAM)
        command = [environment.python, "-m", "pdb", "program.py"]
        return said(
            environment.run(*command, cwd=folder, input=PDB_COMMANDS, check=False)
        )

    text = compare("pdb", bare, act, version=DEFAULT_PYTHON, cell=amount)
    assert f"Breakpoint 1 at {SITE}/shelf/__init__.py:9" in text
    assert f"> {SITE}/shelf/extra.py(2)more()" in text
    assert "(['Emma'], 1)" in text


@pytest.mark.parametrize("just_my_code", [True, False])
def test_debugpy(just_my_code: bool, interactive: Pair, compare: Compare) -> None:
    """Breakpoints are where ``__file__`` says that the packages' files are."""

    def act(environment: Environment) -> Any:
        program = folder_of(environment, f"debugpy-{just_my_code}", program=PROGRAM)
        names = ("shelf", "shelf.extra", "six")
        ask = f"import {', '.join(names)}, json; print(json.dumps(["
        ask += ", ".join(f"{name}.__file__" for name in names) + "]))"
        files = code(environment, ask)
        lines = [(file, line) for file, line in zip(files, (9, 2, 955), strict=True)]
        with DebugAdapter(environment.python, environment.variables) as adapter:
            breakpoints = [(str(program / "program.py"), 14), *lines]
            return debug(
                adapter, program / "program.py", breakpoints, just_my_code=just_my_code
            )

    def cell(found: Any) -> str:
        return f"stops {len(found['stops'])} times"

    title = f"debugpy, justMyCode {str(just_my_code).lower()}"
    version = interactive.versions["debugpy"]
    found = compare(title, interactive, act, version=version, cell=cell)
    verified = [each[0] for each in found["breakpoints"]]
    assert verified == [True, *[not just_my_code] * 3]
    stopped_at = {stack[0][1] for _, stack in found["stops"]}
    set_in = {
        f"{SITE}/{name}" for name in ("shelf/__init__.py", "shelf/extra.py", "six.py")
    }
    assert stopped_at & set_in == (set() if just_my_code else set_in)


# --- packaging and audits -----------------------------------------------------------

INSTALLERS_OWN = ("top_level.txt", "uv_cache.json")
"""Files of ``.dist-info`` that are not in every wheel, and that an installer may add."""


def test_pyinstaller(packagers: Pair, compare: Compare) -> None:
    options = ("--noconfirm", "--log-level=ERROR", "--collect-all=attr")

    def act(environment: Environment) -> Any:
        folder = folder_of(environment, "bundle", program=PROGRAM)
        command = (environment.python, "-m", "PyInstaller", *options, "program.py")
        environment.run(*command, cwd=folder)
        bundle = folder / "dist/program"
        files = {path for path in bundle.rglob("*") if path.name not in INSTALLERS_OWN}
        return {
            "printed": environment.run(bundle / "program").stdout,
            "files": sorted(str(path.relative_to(bundle)) for path in files),
        }

    def cell(found: Any) -> str:
        return f"a program of {len(found['files'])} files"

    found = compare("pyinstaller", packagers, act, cell=cell)
    assert found["printed"] == PRINTED
    assert any("_speedups" in name for name in found["files"])


class _Advisories(BaseHTTPRequestHandler):
    """A database that has one advisory, about six (https://google.github.io/osv.dev)."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = query["package"]
        known = {
            "id": "PYSEC-0000-1",
            "summary": "made up",
            "affected": [{"package": package, "versions": [query["version"]]}],
        }
        answer = {"vulns": [known]} if package["name"] == "six" else {}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def advisories() -> Iterator[str]:
    """The address of a database of advisories."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Advisories) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["--local", "--path"])
def test_pip_audit(
    place: str, advisories: str, packagers: Pair, compare: Compare
) -> None:
    def act(environment: Environment) -> Any:
        where = [place, str(environment.site)] if place == "--path" else [place]
        service = ("--vulnerability-service=osv", f"--osv-url={advisories}")
        options = ("--format=json", "--progress-spinner=off", "--skip-editable", *service)
        command = (environment.path / "bin/pip-audit", *options, *where)
        done = environment.run(*command, check=False)
        return [done.returncode, json.loads(done.stdout)["dependencies"]]

    def cell(found: Any) -> str:
        return f"{len(found[1])} audited"

    version = packagers.versions["pip-audit"]
    title = f"pip-audit {place}"
    status, audited = compare(title, packagers, act, version=version, cell=cell)
    assert status == 1
    assert [each["name"] for each in audited if each["vulns"]] == ["six"]
    assert {each["name"] for each in audited} >= {"shelf-extra", "attrs", "pip-audit"}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("pipdeptree", ["--all"]),
        ("pipdeptree", ["--python={python}", "--output=json"]),
        ("pip-licenses", ["--with-system", "--with-license-file", "--format=json"]),
        ("pip-licenses", ["--python={python}", "--with-urls", "--with-description"]),
    ],
)
def test_listing(
    tool: str, arguments: list[str], packagers: Pair, compare: Compare
) -> None:
    def act(environment: Environment) -> str:
        options = [each.format(python=environment.python) for each in arguments]
        return said(environment.run(environment.path / "bin" / tool, *options))

    title, version = f"{tool} {arguments[0].partition('=')[0]}", packagers.versions[tool]
    text = compare(title, packagers, act, version=version, cell=amount)
    for name in ("shelf", "attrs", "markupsafe", "altgraph"):
        assert name in text.lower()


# --- what comes with Python ---------------------------------------------------------


RUNTIME = {"_commonwheel"}
"""A module that plain environments do not have."""


def test_pydoc(bare: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> Any:
        pydoc = (environment.python, "-m", "pydoc")
        names = ("shelf", "shelf.extra", "shelf_space", "jaraco", "six", "attr.asdict")
        pages = [environment.run(*pydoc, name).stdout for name in names]
        listed = environment.run(*pydoc, "modules").stdout.split()
        return {"pages": pages, "modules": sorted({*listed} - RUNTIME)}

    def cell(found: Any) -> str:
        return f"{len(found['modules'])} modules"

    found = compare("pydoc", bare, act, version=DEFAULT_PYTHON, cell=cell)
    assert f"{SITE}/shelf/__init__.py" in found["pages"][0]
    assert {"shelf", "six", "attr", "yaml"} <= set(found["modules"])


WALK = """
import json, pkgutil, sys, sysconfig
found = {}
for title, folders in (
    ("site-packages", [sysconfig.get_path("purelib")]),
    ("sys.path", [each for each in sys.path if each.startswith(sys.prefix)]),
):
    modules = pkgutil.walk_packages(folders)
    found[title] = [[each.name, each.ispkg, each.module_finder.path] for each in modules]
print(json.dumps(found))
"""


def test_pkgutil_walk_packages(bare: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> Any:
        found = code(environment, WALK)
        rows = {title: sorted(rows) for title, rows in found.items()}
        return {
            title: [row for row in rows[title] if row[0] not in RUNTIME] for title in rows
        }

    found = compare(
        "pkgutil.walk_packages",
        bare,
        act,
        version=DEFAULT_PYTHON,
        cell=lambda found: amount(found["sys.path"]),
    )
    names = {name for name, *_ in found["site-packages"]}
    assert {"shelf.extra", "shelf.tests.test_shelf", "six", "attr.setters"} <= names


INSPECT = """
import inspect, json, linecache, traceback
import attr, jaraco.functools, markupsafe._speedups, shelf.extra, shelf_space.one, six
found = []
for each in (shelf, shelf.Shelf, shelf.count, shelf.extra.more, attr.asdict, six,
             jaraco.functools.once, shelf_space.one):
    found += [inspect.getsource(each), inspect.getsourcefile(each), inspect.getfile(each)]
    found += [inspect.getsourcelines(each)[1], inspect.getmodule(each).__name__]
found.append(inspect.getfile(markupsafe._speedups))
try:
    shelf.count(None)
except TypeError:
    found.append(traceback.format_exc())
print(json.dumps(found))
"""


def test_inspect_getsource(bare: Pair, compare: Compare) -> None:
    found = compare(
        "inspect.getsource",
        bare,
        lambda environment: code(environment, INSPECT),
        version=DEFAULT_PYTHON,
        cell=amount,
    )
    assert found[-1].count("number = len(books)") == 1


RESOURCES = """
import json, os, pkgutil
from importlib import resources

def described(place):
    if not place.is_dir():
        return place.read_bytes().decode("utf-8", "replace")
    # in folders of several distributions, links have markers beside them
    parts = (part for part in place.iterdir() if not part.name.endswith(".commonwheel"))
    return {part.name: described(part) for part in parts if part.name != "__pycache__"}

names = ("shelf", "shelf.data", "shelf_space", "shelf_space.data", "jaraco", "attr")
found = {name: described(resources.files(name)) for name in names}
with resources.as_file(resources.files("shelf") / "data/titles.txt") as path:
    found["as_file"] = [str(path), path.read_text()]
with resources.as_file(resources.files("shelf") / "data") as path:
    found["as_file of a folder"] = [str(path), sorted(os.listdir(path))]
two = resources.files("shelf_space").joinpath("data", "two.txt")
with resources.as_file(two) as path:
    found["as_file of a namespace"] = [str(path), path.read_text()]
found["read_text"] = resources.read_text("shelf.data", "titles.txt")
found["is_resource"] = resources.is_resource("shelf", "py.typed")
found["contents"] = sorted({*resources.contents("attr")} - {"__pycache__"})
found["get_data"] = pkgutil.get_data("shelf", "data/titles.txt").decode()
print(json.dumps(found, sort_keys=True))
"""


def test_importlib_resources(bare: Pair, compare: Compare) -> None:
    found = compare(
        "importlib.resources",
        bare,
        lambda environment: code(environment, RESOURCES, "-W", "ignore"),
        version=DEFAULT_PYTHON,
        cell=amount,
    )
    assert found["shelf_space"]["data"] == {"one.txt": "one", "two.txt": "two"}
    assert found["shelf"]["extra.py"].startswith("def more()")


def test_zipapp_of_a_program(bare: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        folder = folder_of(environment, "zipapp", __main__=PROGRAM)
        zipapp = (environment.python, "-m", "zipapp", "--python", environment.python)
        archive = environment.home / "program.pyz"
        environment.run(*zipapp, "--output", archive, folder)
        return environment.run(archive).stdout

    text = compare("zipapp", bare, act, version=DEFAULT_PYTHON, cell=amount)
    assert text == PRINTED


IN_ARCHIVE = """
import importlib, json, sys
sys.path[:] = [each for each in sys.path if "lib/python" in each] + [sys.argv[1]]
found = []
for name in ("shelf", "shelf.extra", "attr", "jaraco.functools"):
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    found.append(name)
print(json.dumps(found))
"""


def test_zipapp_of_site_packages_has_no_linked_packages(
    bare: Pair, compare: Compare
) -> None:
    """zipapp does not follow links; pip puts files where ``--target`` says."""

    def act(environment: Environment) -> Any:
        archive = environment.home / "site.pyz"
        zipapp = (environment.python, "-m", "zipapp", "--main", "shelf:Shelf")
        environment.run(*zipapp, "--output", archive, environment.site)
        command = (environment.python, "-I", "-S", "-c", IN_ARCHIVE, archive)
        return json.loads(environment.run(*command).stdout)

    found = compare(
        "zipapp of site-packages",
        bare,
        act,
        version=DEFAULT_PYTHON,
        cell=amount,
        difference=lambda plain: [],
    )
    assert found == ["shelf", "shelf.extra", "attr", "jaraco.functools"]


@pytest.mark.parametrize("options", [["-q"], ["-f", "-q"]], ids=["stale", "all"])
def test_compileall(
    options: list[str], bare: Pair, tmp_path: Path, compare: Compare
) -> None:
    pair = bare.copy(tmp_path)
    before = state_of(pair.linked.store)

    def act(environment: Environment) -> str:
        python = (environment.python, "-W", "error")
        compiled = environment.run(
            *python, "-m", "compileall", *options, environment.site
        )
        return said(compiled) + environment.run(*python, "-c", PROGRAM).stdout

    title = f"compileall {' '.join(options)}"
    text = compare(title, pair, act, version=DEFAULT_PYTHON, cell=lambda _: "no error")
    assert text == f"exit status 0\n{PRINTED}"
    assert state_of(pair.linked.store) == before


def test_no_warning_is_an_error(bare: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> str:
        command = (environment.python, "-X", "dev", "-W", "error", "-b", "-c", PROGRAM)
        return said(environment.run(*command))

    text = compare(
        "python -X dev -W error",
        bare,
        act,
        version=DEFAULT_PYTHON,
        cell=lambda _: "no error",
    )
    assert text == f"exit status 0\n{PRINTED}"


FILES = """
import glob, importlib, json, os, pathlib, sys

def walked(root):
    for folder, _, names in os.walk(root):
        yield from (f"{folder}/{name}" for name in names)

def named(paths):
    names = (os.path.relpath(path, root) for path in paths)
    return sorted(name for name in names if not name.endswith((".pyc", ".commonwheel")))

found = {}
for name in sys.argv[1:]:
    root = importlib.import_module(name).__path__[0]
    found[name] = {
        "os.walk": named(walked(root)),
        "rglob": named(each for each in pathlib.Path(root).rglob("*") if each.is_file()),
        "glob": named(each for each in glob.glob(f"{root}/**/*.py", recursive=True)),
    }
print(json.dumps(found))
"""


def files_of(environment: Environment, *names: str) -> Any:
    command = (environment.python, "-c", FILES, *names)
    return json.loads(environment.run(*command).stdout)


def test_files_of_a_package(bare: Pair, compare: Compare) -> None:
    """Of one that is in a single distribution: the package is the link, all else real."""
    found = compare(
        "files of a package",
        bare,
        lambda environment: files_of(environment, "attr", "yaml", "jaraco.functools"),
        version=DEFAULT_PYTHON,
        cell=amount,
    )
    assert "setters.pyi" in found["attr"]["rglob"]


def test_files_of_a_shared_package_are_not_found_below_links(
    bare: Pair, compare: Compare
) -> None:
    """Whoever walks a folder that several distributions share has to follow links."""

    def difference(plain: Any) -> Any:
        for found in plain.values():
            for walk in ("os.walk", "rglob"):
                found[walk] = [name for name in found[walk] if "/" not in name]
        return plain

    compare(
        "files of a shared package",
        bare,
        lambda environment: files_of(environment, "shelf", "jaraco"),
        version=DEFAULT_PYTHON,
        cell=lambda found: amount([*found["shelf"]["rglob"], *found["jaraco"]["rglob"]]),
        difference=difference,
    )
