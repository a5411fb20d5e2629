"""Libraries of one wheel that need libraries of another one find them, linked too.

The wheels are made with gcc; then come those of the index that people use.
"""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from commonwheel.binaries import formats
from conftest import Make
from environments import Environment, assert_untouched, run, store_contents
from pairs import Compare, Pairs
from wheelhouse import write_wheel

TAG = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

ANSWER = "int answer(void) {{ return {0}; }}"
ASK = "int answer(void); int ask(void) { return answer(); }"
EXTENSION = """
#define Py_LIMITED_API 0x030a0000
#include <Python.h>
int ask(void);
static PyObject *asked(PyObject *self, PyObject *none) { return PyLong_FromLong(ask()); }
static PyMethodDef methods[] = {{"ask", asked, METH_NOARGS, ""}, {0}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "extension", "", -1, methods};
PyMODINIT_FUNC PyInit_extension(void) { return PyModule_Create(&module); }
"""
PROGRAM = """
#include <stdio.h>
int ask(void);
int main(void) { printf("%d\\n", ask()); return 0; }
"""
BY_CTYPES = """
import ctypes, os, {0}
folder = os.path.dirname({0}.__file__)
print(ctypes.CDLL(os.path.join(folder, "lib", "libask.so")).ask())
"""
BY_EXTENSION = "import {0}.extension; print({0}.extension.ask())"


@dataclass(frozen=True)
class Layout:
    """Where the wheels have their libraries, and where one searches for the other's."""

    asking: str
    """The package of the one that needs a library, with dots."""
    answering: str
    """The folder of that library."""
    search: str
    """From the folder ``lib`` of the former."""
    tags: str = "enable-new-dtags"
    """DT_RUNPATH; ``disable-new-dtags`` makes a DT_RPATH."""
    program: bool = False
    """Whether the former has a program beside its package's ``__init__.py``."""

    @property
    def folder(self) -> str:
        return self.asking.replace(".", "/")

    def searching(self, path: str = "") -> tuple[str, str, str]:
        """Options for gcc, to search ``path`` or that of the layout."""
        path = path or self.search
        return ("-Wl,--no-as-needed", f"-Wl,-rpath,{path}", f"-Wl,--{self.tags}")


LAYOUTS = {
    "packages": Layout("ask", "answer/lib", "$ORIGIN/../../answer/lib"),
    "packages, DT_RPATH": Layout(
        "ask", "answer/lib", "$ORIGIN/../../answer/lib", "disable-new-dtags"
    ),
    "namespace": Layout("space.ask", "space/answer/lib", "$ORIGIN/../../answer/lib"),
    "one folder": Layout("space.ask", "space/ask/lib", "$ORIGIN"),
}


class Foundry:
    """Makes wheels with binaries."""

    def __init__(self, root: Path, python: Path) -> None:
        self.wheels = root / "wheels"
        self._root = root
        code = "import sysconfig; print(sysconfig.get_path('include'))"
        self._headers = run([python, "-c", code]).stdout.strip()

    def answer(self, folder: str, version: str) -> None:
        """The distribution ``answer``: a library that answers with its version."""
        source = ANSWER.format(version.partition(".")[0])
        library = self.build("libanswer.so.1", source, "-Wl,-soname,libanswer.so.1")
        files: dict[str, str | bytes] = {f"{folder}/libanswer.so.1": library}
        if not folder.startswith("{data}"):
            files[f"{folder}/answer.txt"] = version
        self._write("answer", version, files)

    def ask(self, layout: Layout) -> None:
        """The distribution ``ask``: a library that needs the other's, and its users."""
        self.build("libanswer.so.1", ANSWER.format(0), "-Wl,-soname,libanswer.so.1")
        needing = (*layout.searching(), f"-L{self._root}", "-l:libanswer.so.1")
        library = self.build("libask.so", ASK, *needing)
        needing = (*layout.searching("$ORIGIN/lib"), f"-L{self._root}", "-lask")
        headers = f"-I{self._headers}"
        extension = self.build("extension.abi3.so", EXTENSION, headers, *needing)
        program = self.build("program", PROGRAM, *needing, shared=False)
        files: dict[str, str | bytes] = {
            f"{layout.folder}/__init__.py": "",
            f"{layout.folder}/module.py": "",
            f"{layout.folder}/inner/__init__.py": "",
            f"{layout.folder}/lib/libask.so": library,
            f"{layout.folder}/extension.abi3.so": extension,
        }
        if layout.program:
            files[f"{layout.folder}/program"] = program
        self._write("ask", "1.0", files, executable=(f"{layout.folder}/program",))

    def build(self, name: str, source: str, *options: str, shared: bool = True) -> bytes:
        """What gcc makes of ``source``."""
        path = self._root / name
        kind = ("-shared", "-fPIC")
        if not shared:
            kind = ("-pie", "-fPIE", "-Wl,--unresolved-symbols=ignore-in-shared-libs")
        code = self._root / f"{name}.c"
        code.write_text(source)
        run(["gcc", *kind, "-o", path, code, *options])
        return path.read_bytes()

    def _write(
        self,
        name: str,
        version: str,
        files: dict[str, str | bytes],
        executable: tuple[str, ...] = (),
    ) -> None:
        write_wheel(self.wheels, name, version, files, tag=TAG, executable=executable)


@pytest.fixture
def foundry(tmp_path: Path, python: Path) -> Foundry:
    root = tmp_path / "foundry"
    root.mkdir()
    return Foundry(root, python)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


def answers(environment: Environment, layout: Layout) -> set[str]:
    """What the library says, to ctypes and to the extension module."""
    return {
        environment.code(code.format(layout.asking)) for code in (BY_CTYPES, BY_EXTENSION)
    }


@pytest.mark.parametrize("names", [["ask", "answer"], ["answer", "ask"]])
def test_a_library_finds_that_of_another_wheel(
    make: Make, foundry: Foundry, layout: Layout, names: list[str]
) -> None:
    environment = make()
    before = environment.tree()
    foundry.ask(layout)
    for version in ("1.0", "2.0"):
        foundry.answer(layout.answering, version)
    for name in names:
        requirement = f"{name}==1.0"
        environment.install(requirement, wheels=foundry.wheels)
    view = environment.site / "_commonwheel/view"
    assert (view / layout.folder / "lib/libask.so").is_symlink()
    answer = view / layout.answering / "libanswer.so.1"
    assert answer.resolve().is_relative_to(environment.store)
    assert answers(environment, layout) == {"1"}
    stored = store_contents(environment.store)
    environment.install("--upgrade", "answer", wheels=foundry.wheels)
    assert answers(environment, layout) == {"2"}
    environment.pip("uninstall", "-y", *names)
    assert environment.leftovers(before) == set()
    assert_untouched(environment.store, stored)


def test_what_is_in_a_folder_of_links_is_imported_as_ever(
    make: Make, foundry: Foundry
) -> None:
    layout = LAYOUTS["packages"]
    environment = make()
    foundry.ask(layout)
    foundry.answer(layout.answering, "1.0")
    environment.install("ask", "answer", wheels=foundry.wheels)
    view = environment.site / "_commonwheel/view"
    assert not (view / "ask").is_symlink()
    assert not (view / "ask/lib").is_symlink()
    assert (view / "ask/inner").is_symlink()
    stored = store_contents(environment.store)
    code = (
        "import ask.module, ask.inner, pkgutil\n"
        "print(ask.__file__, ask.__path__, ask.module.__cached__)\n"
        "print(sorted(m.name for m in pkgutil.iter_modules(ask.__path__)))"
    )
    files, names = environment.code(code).splitlines()
    (compiled,) = (view / "ask/__pycache__").glob("module.*.pyc")
    assert files == f"{view}/ask/__init__.py ['{view}/ask'] {compiled}"
    assert names == "['extension', 'inner', 'module']"
    assert store_contents(environment.store) == stored


def test_a_library_that_is_not_there_is_missed_as_ever(
    make: Make, foundry: Foundry
) -> None:
    layout = LAYOUTS["packages"]
    foundry.ask(layout)
    said = []
    for linked in (False, True):
        environment = make(f"linked-{linked}")
        environment.install("ask", wheels=foundry.wheels, linked=linked)
        code = BY_EXTENSION.format("ask")
        said.append(environment.run(environment.python, "-c", code, check=False).stderr)
    plain, linked_ = (text.splitlines()[-1] for text in said)
    assert plain == linked_
    assert plain.startswith("ImportError: libanswer.so.1: cannot open shared object")


def test_an_entry_that_is_missing_is_an_error_for_a_folder_of_links(
    make: Make, foundry: Foundry
) -> None:
    layout = LAYOUTS["packages"]
    environment = make()
    foundry.ask(layout)
    environment.install("ask", wheels=foundry.wheels)
    (entry,) = (environment.store / "entries").glob("ask-*")
    entry.rename(entry.with_name("elsewhere"))
    for module in ("ask", "ask.module"):
        command = (environment.python, "-c", f"import {module}")
        said = environment.run(*command, check=False).stderr
        assert "MissingEntryError: ask 1.0 is linked to the store entry" in said


def test_a_library_above_site_packages_is_found(make: Make, foundry: Foundry) -> None:
    # from lib/pythonX.Y/site-packages/ask/lib
    layout = Layout("ask", "{data}/data/lib", "$ORIGIN/../../../..")
    environment = make()
    before = environment.tree()
    foundry.ask(layout)
    foundry.answer(layout.answering, "1.0")
    environment.install("ask", "answer", wheels=foundry.wheels)
    assert answers(environment, layout) == {"1"}
    stored = store_contents(environment.store)
    environment.pip("uninstall", "-y", "ask", "answer")
    assert environment.leftovers(before) == set()
    assert_untouched(environment.store, stored)


@pytest.mark.parametrize("names", [["ask", "answer"], ["answer", "ask"]])
def test_a_program_finds_the_library_of_another_wheel(
    make: Make, foundry: Foundry, names: list[str]
) -> None:
    layout = replace(LAYOUTS["packages"], program=True)
    environment = make()
    foundry.ask(layout)
    foundry.answer(layout.answering, "1.0")
    for name in names:
        environment.install(name, wheels=foundry.wheels)
    code = (
        "import ask, os, subprocess\n"
        "program = os.path.join(os.path.dirname(ask.__file__), 'program')\n"
        "print(subprocess.check_output([program], text=True).strip())"
    )
    assert environment.code(code) == "1"
    assert answers(environment, layout) == {"1"}


@dataclass(frozen=True)
class Use:
    """A use of distributions from the index that runs a good part of their libraries."""

    requirements: tuple[str, ...]
    """The first one is what it is about."""
    code: str
    says: str
    """What the code prints, whole or a part."""


USES = (
    Use(
        ("scipy",),
        """
import numpy, scipy.fft, scipy.linalg, scipy.sparse.linalg, scipy.stats
matrix = scipy.sparse.eye(3).tocsc() * 2
print(scipy.sparse.linalg.spsolve(matrix, numpy.ones(3)))
print(scipy.linalg.det(numpy.eye(3) * 2), scipy.fft.fft(numpy.ones(2)))
""",
        "[0.5 0.5 0.5]",
    ),
    Use(
        ("pyarrow",),
        """
import io, pyarrow, pyarrow.dataset, pyarrow.flight, pyarrow.parquet
file = io.BytesIO()
pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), file)
print(pyarrow.parquet.read_table(file).to_pydict(), pyarrow.get_library_dirs())
""",
        "{'a': [1, 2]}",
    ),
    Use(
        ("opencv-python-headless",),
        """
import cv2, numpy
image = cv2.GaussianBlur(numpy.full((9, 9, 3), 7, numpy.uint8), (3, 3), 0)
print(cv2.imdecode(cv2.imencode(".png", image)[1], 1).mean())
print([cv2.videoio_registry.getBackendName(each) for each in
       cv2.videoio_registry.getBackends()])
""",
        "7.0",
    ),
    Use(
        ("pyside6-addons",),
        """
import os, subprocess, PySide6, PySide6.QtScxml
from PySide6.QtCore import QLibraryInfo, QPluginLoader
plugins = QLibraryInfo.path(QLibraryInfo.LibraryPath.PluginsPath)
loader = QPluginLoader(plugins + "/canbus/libqtvirtualcanbus.so")
print(plugins, loader.load(), loader.errorString())
print(sorted(PySide6.__all__))
program = os.path.join(os.path.dirname(PySide6.__file__), "lrelease")
print(subprocess.run([program, "-version"], capture_output=True, text=True))
""",
        "PySide6/Qt/plugins True",
    ),
)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.requirements[0])
def test_what_people_use(pairs: Pairs, compare: Compare, use: Use) -> None:
    said = compare(
        use.requirements[0],
        pairs.of(*use.requirements),
        lambda environment: environment.code(use.code),
    )
    assert use.says in said


def test_binaries_are_read_as_readelf_reads_them(python: Path) -> None:
    code = "import sysconfig; print(sysconfig.get_path('platstdlib'))"
    folder = Path(run([python, "-c", code]).stdout.strip(), "lib-dynload")
    paths = [*folder.glob("*.so"), Path("/bin/sh").resolve(), python.resolve()]
    for path in paths:
        found = formats.read(path)
        assert found is not None
        facts = told(run(["readelf", "--dynamic", "--wide", path]).stdout)
        assert list(found.needed) == facts.get("NEEDED", [])
        assert ":".join(found.search) == ":".join(facts.get("RUNPATH", []))
        assert found.name == next(iter(facts.get("SONAME", [])), None)
    assert len(paths) > 20


def told(text: str) -> dict[str, list[str]]:
    """What readelf says, by tag."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.search(r"\((\w+)\).*\[(.*)\]$", line)
        if match:
            found.setdefault(match[1], []).append(match[2])
    return found
