"""What a linked environment promises, asked of fresh interpreters.

Each test builds an environment by hand (``linked_site.py``) and looks at what its
interpreter does. ``integration/test_runtime_on_every_python.py`` runs this file again
on the other Pythons that the runtime supports.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from linked_site import RUNTIME, LinkedSite, base_environment

EXTEND_PATH = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"

BEARTYPE = """
import sys
from importlib.machinery import FileFinder, SourceFileLoader, all_suffixes
class AlienLoader(SourceFileLoader):
    pass
sys.path_hooks.insert(0, FileFinder.path_hook((AlienLoader, [".py"])))
sys.path_importer_cache.clear()
"""

RESET = """
import sys, zipimport
from importlib.machinery import *
sys.path_hooks[:] = [zipimport.zipimporter, FileFinder.path_hook(
    (ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES))]
sys.path_importer_cache.clear()
"""


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter that the promises are asked of."""
    return sys.executable


@pytest.fixture
def site(tmp_path: Path, python: str) -> LinkedSite:
    return LinkedSite(tmp_path, python)


def value_of(name: str) -> str:
    """Code that prints ``value`` of a module, by its full name."""
    return f"import importlib; print(importlib.import_module({name!r}).value)"


# --- one distribution ---------------------------------------------------------------


def test_modules_import_from_the_view(site: LinkedSite) -> None:
    site.link(
        "kit",
        {
            "kit/__init__.py": "",
            "kit/deep/__init__.py": "",
            "kit/deep/leaf.py": "",
            "six.py": "",
            "sourceless.pyc": "",
        },
    )
    code = """
import importlib.util, inspect, json, kit.deep.leaf, six
print(json.dumps([
    kit.__file__, kit.__path__[0], kit.__spec__.origin, inspect.getfile(kit.deep.leaf),
    six.__file__, importlib.util.find_spec("sourceless").origin]))
"""
    view = site.view
    assert json.loads(site.run(code)) == [
        f"{view}/kit/__init__.py",
        f"{view}/kit",
        f"{view}/kit/__init__.py",
        f"{view}/kit/deep/leaf.py",
        f"{view}/six.py",
        f"{view}/sourceless.pyc",
    ]


def test_extension_modules_import_whatever_their_file_is_called(
    site: LinkedSite,
) -> None:
    if not site.interpreter.extension:
        pytest.skip("this interpreter has no extension module in a file of its own")
    binary = Path(site.interpreter.extension).read_bytes()
    suffix = site.interpreter.extension_suffix
    mypyc = "3c22db458360489351e4__mypyc"
    site.link(
        "extensions",
        {
            f"xxlimited{suffix}": binary,
            "tagged/__init__.py": "",
            f"tagged/xxlimited{suffix}": binary,
            "stable/__init__.py": "",
            "stable/xxlimited.abi3.so": binary,
            f"{mypyc}{suffix}": binary,
        },
    )
    code = f"""
import importlib.util, sys
sys.path = [path for path in sys.path if "lib-dynload" not in path]
import stable.xxlimited, tagged.xxlimited, xxlimited
print(xxlimited.__file__, tagged.xxlimited.__file__, stable.xxlimited.__file__,
      importlib.util.find_spec({mypyc!r}).origin)
"""
    assert site.run(code).split() == [
        f"{site.view}/xxlimited{suffix}",
        f"{site.view}/tagged/xxlimited{suffix}",
        f"{site.view}/stable/xxlimited.abi3.so",
        f"{site.view}/{mypyc}{suffix}",
    ]


def test_neighbours_of_a_package_are_found_beside_it(site: LinkedSite) -> None:
    site.link(
        "kit",
        {
            "kit/__init__.py": "",
            "kit-stubs/__init__.pyi": "",
            "kit.libs/libkit.so": "library",
        },
    )
    code = """
import kit, os
library = os.path.join(os.path.dirname(kit.__file__), os.pardir, "kit.libs/libkit.so")
print(open(library).read(), open(os.path.abspath(library)).read())
"""
    assert site.run(code) == "library library"
    assert (site.view / "kit-stubs/__init__.pyi").is_file()


def test_bytecode_of_the_store_is_used(site: LinkedSite) -> None:
    site.link(
        "kit",
        {"kit/__init__.py": "", "kit/deep/leaf.py": "", "six.py": ""},
        bytecode=True,
    )
    code = """
import sys
compiled = []
def audit(event, arguments):
    if event == "compile":
        compiled.append(arguments[1])
sys.addaudithook(audit)
import kit.deep.leaf, six
print(compiled, six.__cached__.endswith(sys.implementation.cache_tag + ".pyc"))
"""
    assert site.run(code) == "[] True"


def test_a_store_that_nobody_may_write_serves_a_python_without_bytecode_there(
    site: LinkedSite, unprivileged: tuple[str, ...]
) -> None:
    entry = site.link("kit", {"kit/__init__.py": "value = 1"}, bytecode=True)
    bytecode = entry / "tree/kit/__pycache__"
    (stored,) = bytecode.iterdir()
    stored.rename(bytecode / "__init__.cpython-38.pyc")
    site.wrapper = unprivileged
    assert site.run(value_of("kit")) == "1"
    assert os.listdir(bytecode) == ["__init__.cpython-38.pyc"]


def test_a_linked_package_runs_as_a_program(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "", "kit/__main__.py": "print(__file__)"})
    assert site.execute("-m", "kit") == f"{site.view}/kit/__main__.py"


def test_resources_are_found(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "", "kit/data/text": "linked"})
    site.link("part", {"spread/part/__init__.py": "", "spread/part/text": "linked"})
    code = """
import importlib.resources, pkgutil, sys
print(importlib.resources.files("kit").joinpath("data/text").read_text(),
      pkgutil.get_data("kit", "data/text").decode())
if sys.version_info >= (3, 10):
    import spread
    found = importlib.resources.files(spread).joinpath("part").joinpath("text")
    assert found.read_text() == "linked"
"""
    assert site.run(code) == "linked linked"


# --- the place on sys.path ----------------------------------------------------------


def test_ask_06_the_standard_library_goes_before_a_linked_module(
    site: LinkedSite,
) -> None:
    site.link("dataclasses", {"dataclasses.py": "raise RuntimeError"})
    stdlib = site.interpreter.stdlib
    found = site.run("import dataclasses; print(dataclasses.__file__)")
    assert found == f"{stdlib}/dataclasses.py"


def test_a_real_module_goes_before_a_linked_one(site: LinkedSite) -> None:
    site.link("linked", {"six.py": "value = 'linked'"})
    site.add("real", {"six.py": "value = 'real'"})
    assert site.run(value_of("six")) == "real"
    remove(site.store / "entries/linked-1.0-1a2b3c4d")
    assert site.run(value_of("six")) == "real"


def test_a_linked_module_goes_before_a_real_folder_without_code(
    site: LinkedSite,
) -> None:
    site.link("linked", {"six.py": "value = 'linked'"})
    site.add("real", {"six/data/text": ""})
    assert site.run(value_of("six")) == "linked"


@pytest.mark.parametrize("start", [[], ["-I"], ["-E", "-s"], ["-O"], ["-B"]])
def test_options_of_the_interpreter_change_nothing(
    site: LinkedSite, start: list[str]
) -> None:
    site.link("kit", {"kit/__init__.py": "value = 1"})
    if site.interpreter.minor >= 11:
        start = [*start, "-P"]
    assert site.run(value_of("kit"), *start) == "1"


def test_without_site_nothing_is_linked_until_it_runs(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": ""})
    assert "ModuleNotFoundError" in site.fail("-S", "-c", "import kit")
    assert site.run("import site; site.main(); import kit", "-S") == ""


def test_sitecustomize_runs_when_it_is_a_real_file(site: LinkedSite) -> None:
    site.add("real", {"sitecustomize.py": "print('customized')"})
    assert site.run("") == "customized"


def test_a_second_site_is_served_by_the_same_runtime(
    site: LinkedSite, tmp_path: Path, python: str
) -> None:
    second = LinkedSite(tmp_path / "second", python)
    for each, name in (site, "one"), (second, "two"):
        each.link("shared", {"shared/__init__.py": ""})
        each.add("own", {f"shared/{name}.py": "", f"only_{name}.py": ""})
        each.link(name, {f"spread/{name}/__init__.py": ""})
    folders = f"{site.path!s}", f"{second.path!s}"
    code = f"""
import site
site.addsitedir({folders[1]!r})
import only_one, only_two, shared.one, spread.one, spread.two
print(*spread.__path__)
"""
    assert site.run(code).split() == [f"{site.view}/spread", f"{second.view}/spread"]
    # A `.start` file calls `install` without a folder, once all paths are known.
    code = f"""
import pathlib, sys
sys.path.append({folders[0]!r})
import _commonwheel
sys.path[-1:] = [{folders[1]!r}, {str(second.view)!r}, pathlib.Path("/path")]
_commonwheel.install()
import shared.two
"""
    assert site.run(code, "-S") == ""


def test_a_process_that_drops_site_packages_sees_nothing_of_it(
    site: LinkedSite,
) -> None:
    """The way of pip's isolated builds."""
    site.link("kit", {"kit/__init__.py": "", "spread/part/__init__.py": ""})
    site.link("gone", {"gone.py": ""})
    shutil.rmtree(site.store / "entries/gone-1.0-1a2b3c4d")
    code = f"""
import importlib.util, site, sys
before = list(sys.path)
site.addsitedir({str(site.path)!r}, known_paths=set())
dropped = sys.path[len(before):] + [{str(site.path)!r}]
sys.path[:] = [path for path in before if path not in dropped]
print([importlib.util.find_spec(name) for name in ("kit", "spread", "gone")])
"""
    assert site.run(code) == "[None, None, None]"


def test_other_ways_to_write_the_path_find_the_same(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "value = 1"})
    code = f"""
import pathlib, sys
sys.path[:] = [b"/bytes", pathlib.Path("/path"), {str(site.path)!r} + "/", *[
    path for path in sys.path if "site-packages" not in path]]
"""
    assert site.run(code + value_of("kit")) == "1"


def test_system_site_packages_come_after_linked_ones(tmp_path: Path, python: str) -> None:
    base = base_environment(tmp_path / "base", python)
    site = LinkedSite(tmp_path, python, base=base)
    library = base / f"lib/python{site.interpreter.version}/site-packages"
    for name in "both", "below":
        (library / f"{name}.py").write_text("value = 'base'")
    site.link("both", {"both.py": "value = 'linked'"})
    code = "import both, below; print(both.value, below.value)"
    assert site.run(code) == "linked base"


def test_an_environment_may_be_moved_and_its_site_packages_removed(
    site: LinkedSite,
) -> None:
    site.link("kit", {"kit/__init__.py": "value = 1"})
    old = str(site.environment)
    site.environment = site.environment.rename(site.root / "moved")
    site.python = site.environment / "bin/python"
    assert site.run(value_of("kit")) == "1"
    moved = str(site.path).replace(old, str(site.environment))
    code = f"import shutil; shutil.rmtree({moved!r}); import json, kit"
    assert "ModuleNotFoundError: No module named 'kit'" in site.fail("-c", code)


def notes(site: LinkedSite) -> dict[str, str]:
    folder = site.store / "environments"
    return {path.name: os.fsdecode(path.read_bytes()) for path in folder.iterdir()}


def test_a_moved_or_copied_environment_tells_its_store_where_it_is(
    site: LinkedSite,
) -> None:
    site.link("kit", {"kit/__init__.py": "value = 'linked'"})
    (site.store / "environments").mkdir()
    assert site.run(value_of("kit")) == "linked"
    assert notes(site) == {}
    below = site.path.relative_to(site.environment)
    python = site.python.relative_to(site.environment)
    expected = set()
    for name in ("copy", "caf\udce9"):
        other = site.root / name
        shutil.copytree(site.environment, other, symlinks=True)
        site.python = other / python
        expected.add(f"{other / below}\n")
        for _ in range(2):
            assert site.run(value_of("kit")) == "linked"
    assert set(notes(site).values()) == expected
    assert all(name.startswith("moved-") for name in notes(site))
    assert len(notes(site)) == 2


def test_another_path_of_the_same_environment_is_no_move(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "value = 'linked'"})
    (site.store / "environments").mkdir()
    (site.root / "other").symlink_to(site.environment)
    site.python = site.root / "other/bin/python"
    assert site.run(value_of("kit")) == "linked"
    assert notes(site) == {}


@pytest.mark.parametrize("content", [b"", b"entry: \n", b"\xff\n", None])
def test_a_moved_environment_starts_whatever_became_of_its_store(
    site: LinkedSite, content: bytes | None
) -> None:
    site.link("kit", {"kit/__init__.py": "value = 'linked'"})
    if content is not None:
        (site.links / "other.link").write_bytes(content)
    moved = site.environment.rename(site.root / "moved")
    site.python = moved / "bin/python"
    assert site.run(value_of("kit")) == "linked"
    assert not (site.store / "environments").exists()


def test_a_foreign_interpreter_finds_the_view_on_its_path(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "value = 1"})
    site.python = Path(site.interpreter.executable)
    assert site.run(value_of("kit"), PYTHONPATH=str(site.view)) == "1"
    add = f"import site; site.addsitedir({str(site.path)!r})\n"
    assert site.run(add + value_of("kit"), "-I") == "1"


# --- packages of several distributions ----------------------------------------------


def test_a_namespace_package_has_each_portion_once(site: LinkedSite) -> None:
    site.link("a", {"top/deep/a/__init__.py": "", "linked_only/a/__init__.py": ""})
    site.link("b", {"top/deep/b/__init__.py": "", "linked_only/b/__init__.py": ""})
    site.add("c", {"top/deep/c/__init__.py": "", "top/deep/d.py": ""})
    code = """
import top.deep.a, top.deep.b, top.deep.c, top.deep.d, linked_only.a, linked_only.b
print(*top.__path__, *top.deep.__path__, *linked_only.__path__)
"""
    expected = [
        f"{site.path}/top",
        f"{site.view}/top",
        f"{site.path}/top/deep",
        f"{site.view}/top/deep",
        f"{site.view}/linked_only",
    ]
    assert site.run(code).split() == expected
    dropped = f"import sys; sys.path.remove({str(site.view)!r})"
    assert site.run(dropped + code).split() == expected


def test_a_package_that_extends_its_path_finds_all_its_parts(site: LinkedSite) -> None:
    for name, install in ("a", site.link), ("b", site.link), ("c", site.add):
        install(name, {"ns/__init__.py": EXTEND_PATH, f"ns/{name}/__init__.py": ""})
    assert site.run("import ns.a, ns.b, ns.c; print(len(ns.__path__))") == "2"


def test_pkg_resources_declares_a_namespace(site: LinkedSite) -> None:
    bundled = Path(site.interpreter.stdlib, "ensurepip/_bundled").glob("pip-*.whl")
    wheel = next(bundled, None)
    member = "pip/_vendor/pkg_resources/__init__.py"
    if wheel is None or member not in zipfile.ZipFile(wheel).namelist():
        pytest.skip("this interpreter's pip has no pkg_resources to lend")
    declare = "import pkg_resources; pkg_resources.declare_namespace(__name__)"
    site.link("a", {"ns/__init__.py": declare, "ns/a.py": ""})
    site.link("b", {"ns/__init__.py": declare, "ns/b/__init__.py": ""})
    site.add("c", {"ns/__init__.py": declare, "ns/c.py": ""})
    code = f"""
import sys, warnings
warnings.simplefilter("ignore")
sys.path.append({str(wheel)!r})
import pip._vendor.pkg_resources as pkg_resources
sys.modules["pkg_resources"] = pkg_resources
import ns.a, ns.b, ns.c
print(sorted(dist.key for dist in pkg_resources.working_set if len(dist.key) == 1))
"""
    assert site.run(code) == "['a', 'b', 'c']"


def test_a_namespace_made_by_a_start_up_file_finds_all_its_parts(
    site: LinkedSite,
) -> None:
    template = (
        "import sys, types, os;"
        "has_mfs = sys.version_info > (3, 5);"
        "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *{parts});"
        "importlib = has_mfs and __import__('importlib.util');"
        "has_mfs and __import__('importlib.machinery');"
        "m = has_mfs and sys.modules.setdefault({name!r}, importlib.util."
        "module_from_spec(importlib.machinery.PathFinder.find_spec({name!r},"
        " [os.path.dirname(p)])));"
        "m = m or sys.modules.setdefault({name!r}, types.ModuleType({name!r}));"
        "mp = (m or []) and m.__dict__.setdefault('__path__',[]);"
        "(p not in mp) and mp.append(p)\n"
    )
    lines = template.format(parts=("old",), name="old")
    lines += template.format(parts=("old", "deep"), name="old.deep")
    lines += "m and setattr(sys.modules['old'], 'deep', m)\n"
    for name in "a", "b":
        site.link(name, {f"old/deep/{name}/__init__.py": ""})
        site.add(f"{name}-start", {f"{name}-nspkg.pth": lines})
    site.link("c", {"old/later/c/__init__.py": ""})
    assert site.run("import old.deep.a, old.deep.b, old.later.c") == ""
    # The import system makes the __path__ anew, without what the file appended.
    code = "import sys; sys.path.insert(0, '/'); import old.deep.a, old.later.c"
    assert site.run(code) == ""


def test_regular_packages_that_overlap_are_one_at_every_depth(site: LinkedSite) -> None:
    for name, install in ("a", site.link), ("b", site.link), ("c", site.add):
        init = f"owner = {name!r}"
        install(
            name,
            {
                "pkg/__init__.py": init,
                f"pkg/{name}.py": "",
                "pkg/sub/__init__.py": init,
                f"pkg/sub/{name}.py": "",
            },
        )
    code = """
import pkg.a, pkg.b, pkg.c, pkg.sub.a, pkg.sub.b, pkg.sub.c
print(pkg.owner, pkg.sub.owner)
"""
    assert site.run(code) == "c c"


def test_a_real_folder_may_add_to_a_linked_package(site: LinkedSite) -> None:
    site.link("host", {"host/__init__.py": "", "host/own.py": ""})
    site.add("plugin", {"host/plugin.py": ""})
    code = "import host.own, host.plugin; print(*host.__path__)"
    assert site.run(code).split() == [f"{site.view}/host", f"{site.path}/host"]


def test_a_link_may_add_to_a_real_package(site: LinkedSite) -> None:
    site.add("host", {"host/__init__.py": "", "host/own.py": ""})
    site.link("plugin", {"host/plugin/__init__.py": ""})
    code = "import host.own, host.plugin; print(*host.__path__)"
    assert site.run(code).split() == [f"{site.path}/host", f"{site.view}/host"]


# --- other import machinery ---------------------------------------------------------


@pytest.mark.parametrize("others", [BEARTYPE, RESET], ids=["beartype", "reset"])
def test_path_hooks_of_others_do_not_hide_linked_modules(
    site: LinkedSite, others: str
) -> None:
    site.link("kit", {"kit/__init__.py": "", "kit/leaf.py": "", "six.py": ""})
    site.link("a", {"ns/a.py": ""})
    site.link("plugin", {"host/plugin/__init__.py": ""})
    site.link("gone", {"gone/__init__.py": ""})
    site.add("real", {"ns/b.py": "", "host/__init__.py": ""})
    shutil.rmtree(site.store / "entries/gone-1.0-1a2b3c4d")
    code = others + "import kit.leaf, six, ns.a, ns.b, host.plugin, gone"
    assert site.fail("-c", code).startswith("_commonwheel.MissingEntryError: gone 1.0")


def test_a_path_hook_in_front_loads_linked_modules(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "", "kit/leaf.py": ""})
    code = BEARTYPE + "import kit.leaf; print(type(kit.leaf.__loader__).__name__)"
    assert site.run(code) == "AlienLoader"


def test_cleared_caches_are_filled_again(site: LinkedSite) -> None:
    site.link("plugin", {"host/plugin/__init__.py": ""})
    site.add("real", {"host/__init__.py": ""})
    clear = "import sys; sys.path_importer_cache.clear();"
    assert site.run(clear + "import host.plugin") == ""


def test_installing_again_changes_nothing_and_mends_what_was_reset(
    site: LinkedSite,
) -> None:
    site.link("kit", {"kit/__init__.py": ""})
    code = """
import importlib.metadata, sys, _commonwheel
def state():
    return [*map(id, sys.path_hooks + sys.meta_path), *_commonwheel._sites,
            id(importlib.metadata.PathDistribution.locate_file)]
before = state()
_commonwheel.install()
_commonwheel.install(_commonwheel._sites[0])
print(state() == before)
sys.path_hooks[:] = sys.path_hooks[1:]
_commonwheel.install()
print(state() == before)
"""
    assert site.run(code).split() == ["True", "True"]


def test_a_runtime_that_comes_late_serves_folders_already_looked_at(
    site: LinkedSite,
) -> None:
    site.link("plugin", {"host/plugin.py": ""})
    site.add("real", {"host/__init__.py": "", "host/own.py": "", "host2.py": ""})
    code = f"""
import site, sys
sys.path += [b"/bytes", {str(site.path)!r}]
import host.own
site.addsitedir({str(site.path)!r})
import host.plugin
"""
    assert site.run(code, "-S") == ""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_modules_are_listed_once(site: LinkedSite, moment: str) -> None:
    site.link("kit", {"kit/__init__.py": "", "six.py": ""})
    site.link("plugin", {"host/__init__.py": "", "host/plugin.py": ""})
    site.add("real", {"host/__init__.py": "", "host/own.py": "", "plain.py": ""})
    code = f"""
import site, sys
if {moment!r} == "before":
    import pkgutil
site.addsitedir({str(site.path)!r})
import host, pkgutil
def names(modules):
    return sorted(module.name for module in modules)
for path in [{str(site.path)!r}], host.__path__:
    print(names(pkgutil.iter_modules(path, "p.")))
sys.path[:] = [path for path in sys.path if "site-packages" in path]
assert names(pkgutil.iter_modules()) == names(pkgutil.iter_modules(sys.path[:1]))
(kit,) = [module for module in pkgutil.iter_modules(sys.path) if module.name == "kit"]
assert kit.ispkg and kit.module_finder.find_spec("kit").loader
"""
    assert site.run(code, "-S").splitlines() == [
        "['p._commonwheel', 'p.host', 'p.kit', 'p.plain', 'p.six']",
        "['p.own', 'p.plugin']",
    ]


# --- metadata -----------------------------------------------------------------------


def backport_of_metadata(site: LinkedSite) -> dict[str, str]:
    """The standard library's own code as ``importlib_metadata``, found first as it is."""
    standard = Path(site.interpreter.stdlib, "importlib")
    files = {path.name: path.read_text() for path in standard.glob("metadata/*.py")}
    files = files or {"__init__.py": (standard / "metadata.py").read_text()}
    files["__init__.py"] += """
class Finder(MetadataPathFinder):
    @staticmethod
    def find_spec(fullname, path=None, target=None):
        return None
sys.meta_path.insert(0, Finder)
"""
    return {f"importlib_metadata/{name}": text for name, text in files.items()}


@pytest.mark.parametrize("module", ["importlib.metadata", "importlib_metadata"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_metadata_finds_the_files_of_linked_distributions(
    site: LinkedSite, module: str, moment: str
) -> None:
    if module == "importlib_metadata":
        install_backport = site.link if moment == "after" else site.add
        install_backport("backport", backport_of_metadata(site))
    entry_points = {"entry_points.txt": "[plugins]\nkit = kit:value\n"}
    site.link("kit", {"kit/__init__.py": "value = 1"}, "2.0", metadata=entry_points)
    site.link("overlap", {"real/__init__.py": "", "real/linked.py": ""})
    site.add("real", {"real/__init__.py": ""})
    code = f"""
import sys
if {moment!r} == "before":
    sys.path.append({str(site.path)!r})
    import {module} as metadata
import site
site.addsitedir({str(site.path)!r})
import {module} as metadata, os
dist = metadata.distribution("kit")
print(dist.version, dist.locate_file("kit/__init__.py"))
for file in metadata.files("kit"):
    assert file.locate().exists() and os.path.exists(dist.locate_file(file)), file
assert "kit/__init__.py" in map(str, metadata.files("kit"))
(plugin,) = [e for e in dist.entry_points if e.group == "plugins"]
print(plugin.load(), metadata.distribution("real").locate_file("real/__init__.py"),
      metadata.distribution("overlap").locate_file("real/linked.py"),
      dist.locate_file("nothing"), type(dist.locate_file("kit")).__name__)
"""
    assert site.run(code, "-S").split() == [
        "2.0",
        f"{site.view}/kit/__init__.py",
        "1",
        f"{site.path}/real/__init__.py",
        f"{site.view}/real/linked.py",
        f"{site.path}/nothing",
        "PosixPath",
    ]


COVERAGE = """
import os, types
original, os = os, types.ModuleType("os")
vars(os).update(vars(original))
def abs_file(path):
    return os.path.realpath(path)
def find_python_files(folder):
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names if name.endswith(".py"))
"""

PYTEST = """
import pathlib, sys
def get_cache_dir(file_path):
    if sys.pycache_prefix:
        return pathlib.Path(sys.pycache_prefix) / file_path.parent.relative_to("/")
    return file_path.parent / "__pycache__"
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_coverage_sees_files_of_the_view_where_they_are(
    site: LinkedSite, moment: str
) -> None:
    install_coverage = site.link if moment == "after" else site.add
    install_coverage(
        "coverage", {"coverage/__init__.py": "", "coverage/files.py": COVERAGE}
    )
    entry = site.link("kit", {"kit/__init__.py": "", "kit/deep/leaf.py": ""})
    site.link("more", {"kit/more.py": ""})
    other = site.root / "other"
    other.symlink_to(site.environment)
    through_other = other / site.view.relative_to(site.environment)
    outside = site.root / "outside"
    outside.mkdir()
    (outside / "link").symlink_to(site.view / "kit")
    code = f"""
import sys
sys.path.append({str(site.path)!r})
if {moment!r} == "before":
    import coverage.files
import os, site
site.addsitedir({str(site.path)!r})
import coverage.files, kit.deep.leaf
for path in (kit.deep.leaf.__file__, "{site.view}/kit/../kit/deep/leaf.py",
             "{through_other}/kit/deep/leaf.py", "{other}", "{entry}/tree/kit/x.py"):
    print(coverage.files.abs_file(path))
print(*sorted(coverage.files.find_python_files(kit.__path__[0])))
print(*coverage.files.find_python_files("{outside}"))
assert os.walk is not coverage.files.os.walk
"""
    leaf = f"{site.view}/kit/deep/leaf.py"
    named = [leaf, leaf, leaf, str(site.environment), f"{entry}/tree/kit/x.py"]
    walked = [f"{site.view}/kit/__init__.py", leaf, f"{site.view}/kit/more.py"]
    assert site.run(code, "-S").split() == [*named, *walked]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_pytest_keeps_what_it_rewrites_out_of_the_store(
    site: LinkedSite, moment: str
) -> None:
    install_pytest = site.link if moment == "after" else site.add
    files = {
        "__init__.py": "",
        "assertion/__init__.py": "",
        "assertion/rewrite.py": PYTEST,
    }
    install_pytest("pytest", {f"_pytest/{name}": text for name, text in files.items()})
    plugin = {"plugin/part/__init__.py": "", "plugin_module.py": ""}
    entry = site.link("plugin", plugin)
    code = f"""
import sys
sys.path.append({str(site.path)!r})
if {moment!r} == "before":
    import _pytest.assertion.rewrite
import pathlib, site
site.addsitedir({str(site.path)!r})
import _pytest.assertion.rewrite as rewrite, plugin.part, plugin_module
for file in (plugin.part.__file__, plugin_module.__file__, "/project/test_it.py"):
    print(rewrite.get_cache_dir(pathlib.Path(file)))
sys.pycache_prefix = "/prefix"
folder = rewrite.get_cache_dir(pathlib.Path(plugin_module.__file__))
print(folder.is_relative_to("/prefix"), type(folder).__name__)
"""
    assert site.run(code, "-S").split() == [
        f"{site.own}/pytest{entry}/tree/plugin/part",
        f"{site.own}/pytest{entry}/tree",
        "/project/__pycache__",
        "True",
        "PosixPath",
    ]


@pytest.mark.parametrize("module", ["coverage.files", "_pytest.assertion.rewrite"])
def test_a_tool_without_the_function_that_is_replaced_imports(
    site: LinkedSite, module: str
) -> None:
    path = module.replace(".", "/")
    site.link("tool", {f"{path}.py": "value = 1", f"{path.partition('/')[0]}/a.py": ""})
    assert site.run(value_of(module)) == "1"


# --- processes ----------------------------------------------------------------------


def test_child_processes_import_linked_modules(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "def work(x):\n    return x + 1"})
    program = site.root / "program.py"
    program.write_text("""
import kit, multiprocessing
if __name__ == "__main__":
    for method in "spawn", "forkserver":
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(kit.work, [1]))
""")
    assert site.execute(str(program)).split() == ["[2]", "[2]"]


def test_an_archive_imports_linked_modules(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "value = 1"})
    archive = site.root / "program.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", "import importlib_metadata, own;" + value_of("kit"))
        # What an archive brings of what is extended elsewhere stays as it is.
        file.writestr("importlib_metadata.py", "")
        file.writestr("own.py", "")
    assert site.execute(str(archive)) == "1"


def test_an_archive_in_a_linked_package_may_be_on_the_path(site: LinkedSite) -> None:
    archive = site.root / "kit.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner.py", "value = 1")
    site.link("kit", {"kit/__init__.py": "", "kit/kit.zip": archive.read_bytes()})
    code = "import kit, sys; sys.path.append(kit.__path__[0] + '/kit.zip');"
    assert site.run(code + value_of("inner")) == "1"


def test_a_subinterpreter_imports_linked_modules(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": "value = 1"})
    code = f"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
failure = interpreters.run_string(interpreters.create(), {value_of("kit")!r})
assert failure is None, failure
"""
    assert site.run(code) == "1"


def test_a_running_process_sees_what_is_installed_and_replaced(
    site: LinkedSite,
) -> None:
    site.link("kit", {"kit/__init__.py": ""})
    site.link("old", {"old/__init__.py": "", "swapped.py": "value = 'old'"})
    site.link("a", {"ns/a.py": ""})
    code = """
import importlib.util, kit, ns.a
assert importlib.util.find_spec("new") is None is importlib.util.find_spec("missing")
print("ready", flush=True)
input()
import new.leaf, swapped, ns.b
print(swapped.value, importlib.util.find_spec("old"))
"""
    process = site.start("-c", code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for name in "old", "swapped.py":
        (site.view / name).unlink()
    site.link("new", {"new/leaf.py": "", "swapped.py": "value = 'new'"})
    site.link("b", {"ns/b.py": ""})
    assert process.communicate("\n") == ("new None\n", "")


def test_a_running_process_sees_real_and_linked_parts_come(site: LinkedSite) -> None:
    site.add("real", {"ns/a.py": ""})
    tree = site.link("kit", {"ns/sub/b.py": ""}) / "tree"
    (site.view / "ns/sub").unlink()
    shutil.rmtree(site.view / "ns")
    code = f"""
import importlib, ns.a, os, sys
assert importlib.util.find_spec("six") is None
view = {str(site.view)!r}
stamp = os.stat(view).st_mtime_ns
os.mkdir(view + "/ns")
os.symlink({str(tree)!r} + "/ns/sub", view + "/ns/sub")
os.symlink({str(site.store)!r} + "/six.py", view + "/six.py")
os.utime(view, ns=(stamp, stamp))
importlib.invalidate_caches()
if sys.version_info >= (3, 10):
    import ns.sub.b
sys.path.remove(view)
import six
"""
    (site.store / "six.py").touch()
    assert site.run("import importlib.util\n" + code) == ""


# --- start-up -----------------------------------------------------------------------


def test_starting_does_not_read_what_is_linked_and_writes_nothing(
    site: LinkedSite,
) -> None:
    site.link("kit", {"kit/__init__.py": ""})
    everything = sorted(site.root.rglob("*"))
    code = f"""
import os, site, sys
def audit(event, arguments):
    if event in ("open", "os.listdir", "os.scandir"):
        read.add(os.path.relpath(arguments[0], {str(site.path)!r}))
read = set()
sys.addaudithook(audit)
site.main()
assert {str(site.path)!r} in sys.path and "_commonwheel" in sys.modules
read = {{path for path in read if not path.startswith("../")}}
print(*sorted(path for path in read if "__pycache__" not in path))
"""
    read = site.run(code, "-S", PYTHONDONTWRITEBYTECODE="1").split()
    assert set(read) <= {
        ".",
        "00_commonwheel.pth",
        "00_commonwheel.start",
        RUNTIME.name,
    }
    assert sorted(site.root.rglob("*")) == everything


@pytest.mark.parametrize("broken", [None, "syntax error", "import nothing_of_the_kind"])
def test_a_broken_runtime_is_silent_and_linked_modules_still_import(
    site: LinkedSite, broken: str | None
) -> None:
    site.link("kit", {"kit/__init__.py": "", "kit/leaf.py": "value = 1"})
    (site.path / "_commonwheel.py").unlink()
    if broken is not None:
        (site.path / "_commonwheel.py").write_text(broken)
    assert site.run(value_of("kit.leaf")) == "1"


def test_a_name_that_is_nowhere_is_not_searched_for_on_disk(site: LinkedSite) -> None:
    site.link("kit", {"kit/__init__.py": ""})
    code = """
import importlib.util, os, sys
def find_nothing():
    for name in "nothing", "importlib_metadata":
        assert importlib.util.find_spec(name) is None
def audit(event, arguments):
    assert event != "os.listdir", arguments
find_nothing()
sys.addaudithook(audit)
os.readlink = None
find_nothing()
"""
    assert site.run(code) == ""


# --- missing entries ----------------------------------------------------------------


@pytest.fixture
def above_base(tmp_path: Path, python: str) -> LinkedSite:
    """A linked environment over a base that holds a copy of each module."""
    base = base_environment(tmp_path / "base", python)
    site = LinkedSite(tmp_path, python, base=base)
    version = site.interpreter.version
    extension = f"extension{site.interpreter.extension_suffix}"
    files = {
        "package/__init__.py": "",
        "module.py": "",
        extension: "",
        "spread/deep/part/__init__.py": "",
        "spread/deep/leaf.py": "",
        "data_only/text": "",
    }
    site.link("kit", files, "1.2")
    for name in files:
        copy = base / f"lib/python{version}/site-packages" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    # The other owner of the view's folder `spread`, and a twin beside it.
    site.link("other", {"spread/deep/other/__init__.py": ""})
    site.add("real", {"spread/deep/real/__init__.py": ""})
    return site


MODULES = [
    "package",
    "module",
    "extension",
    "spread.deep.part",
    "spread.deep.leaf",
    "data_only",
]


def remove(entry: Path) -> str:
    shutil.rmtree(entry)
    return "No such file or directory"


def forbid(entry: Path) -> str:
    entry.chmod(0)  # pytest clears it away all the same
    return "Permission denied"


def empty(entry: Path) -> str:
    for folder, _, names in os.walk(entry):
        for name in names:
            os.unlink(os.path.join(folder, name))
    return "it is empty"


@pytest.fixture
def unprivileged() -> tuple[str, ...]:
    """The start of a command line that takes the superuser's privileges away."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("the superuser may do all, and setpriv is not there to drop it")
    privileges = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={privileges}", f"--inh-caps={privileges}")


@pytest.mark.parametrize("harm", [remove, forbid])
def test_a_missing_entry_is_an_error_that_names_the_way_out(
    above_base: LinkedSite, harm: Callable[[Path], str], unprivileged: tuple[str, ...]
) -> None:
    site = above_base
    site.wrapper = unprivileged
    entry = site.store / "entries/kit-1.2-1a2b3c4d"
    reason = harm(entry)
    code = f"""
import importlib, sys
for name in {MODULES!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # code that goes on without an option
        print("hidden by a fallback", name)
    except ImportError as error:
        said = str(error).replace(sys.executable, "PYTHON")
        print(type(error).__module__, error.name == name, said)
    else:
        print("imported", name, sys.modules[name])
import spread.deep.other, spread.deep.real
"""
    message = (
        f"_commonwheel True kit 1.2 is linked to the store entry {entry}, which cannot"
        f" be read ({reason}). To put it back: PYTHON -m pip install"
        " --use-shared-store --force-reinstall --no-deps kit==1.2"
    )
    assert site.run(code).splitlines() == len(MODULES) * [message]


def test_where_pip_is_linked_too_it_is_not_the_way_out(above_base: LinkedSite) -> None:
    """In an environment of `commonwheel venv`: pip is of the same store."""
    site = above_base
    pip = site.link("pip", {"pip/__init__.py": ""})
    remove(site.store / "entries/kit-1.2-1a2b3c4d")
    said = site.fail("-c", f"import {MODULES[0]}")
    assert said.endswith(f"To put it back: commonwheel repair {site.environment}")
    remove(pip)
    said = site.fail("-c", "import pip")
    assert said.endswith(f"To put it back: commonwheel enable {site.environment}")


def test_an_emptied_entry_is_not_a_namespace_package(above_base: LinkedSite) -> None:
    site = above_base
    reason = empty(site.store / "entries/kit-1.2-1a2b3c4d")
    for name in "package", "data_only", "module":
        assert "kit 1.2 is linked to" in site.fail("-c", f"import {name}")
    assert f"({reason})" in site.fail("-c", "import package")


def test_a_package_whose_init_is_missing_is_not_a_namespace_package(
    site: LinkedSite,
) -> None:
    site.link("host", {"host/__init__.py": "", "host/own.py": ""})
    site.link("plugin", {"host/plugin.py": ""})
    shutil.rmtree(site.store / "entries/host-1.0-1a2b3c4d")
    assert "MissingEntryError: host 1.0" in site.fail("-c", "import host")
    assert "MissingEntryError: host 1.0" in site.fail("-c", "import host.plugin")


def test_a_missing_part_of_a_package_is_an_error(site: LinkedSite) -> None:
    site.link("host", {"host/__init__.py": "", "host/own.py": ""})
    site.link("plugin", {"host/plugin.py": ""})
    shutil.rmtree(site.store / "entries/plugin-1.0-1a2b3c4d")
    code = "import host.own, host.plugin"
    assert "MissingEntryError: plugin 1.0" in site.fail("-c", code)


def test_a_console_script_of_a_missing_entry_says_so(above_base: LinkedSite) -> None:
    site = above_base
    remove(site.store / "entries/kit-1.2-1a2b3c4d")
    script = site.python.parent / "kit"
    script.write_text(f"#!{site.python}\nimport sys\nfrom package import main\nmain()")
    assert "MissingEntryError: kit 1.2" in site.fail(str(script))


def test_broken_manifests_do_not_hide_whose_entry_is_missing(site: LinkedSite) -> None:
    entry = site.link("kit", {"kit.py": ""})
    for number, broken in enumerate(BROKEN_MANIFESTS):
        (site.links / f"{number}.link").write_bytes(broken)
    (site.links / "folder.link").mkdir()
    remove(entry)
    assert "MissingEntryError: kit 1.0" in site.fail("-c", "import kit")


BROKEN_MANIFESTS = [
    b"",
    b"\xff\x00\n",
    b"commonwheel: 9\nentry: {entry}\n",
    b"entry: {entry}\nmetadata: nowhere-1.0.dist-info\n",
]


@pytest.mark.parametrize("broken", BROKEN_MANIFESTS)
def test_a_broken_manifest_owns_nothing(site: LinkedSite, broken: bytes) -> None:
    entry = site.link("kit", {"kit.py": ""})
    text = broken.replace(b"{entry}", os.fsencode(entry))
    (site.links / "kit.link").write_bytes(text)
    remove(entry)
    assert "ModuleNotFoundError" in site.fail("-c", "import kit")


@pytest.mark.parametrize("name", ["caf\xe9".encode(), b"caf\xe9"], ids=["utf-8", "bytes"])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_an_entry_is_named_whatever_characters_are_in_its_path(
    tmp_path: Path, python: str, name: bytes, locale: str
) -> None:
    site = LinkedSite(tmp_path / os.fsdecode(name), python)
    remove(site.link("kit", {"kit.py": ""}))
    ascii_only = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "LC_ALL": locale}
    found = site.fail("-c", "import kit", **ascii_only)
    assert "MissingEntryError: kit 1.0" in found


def test_a_link_to_a_file_that_is_no_module_is_not_missing(site: LinkedSite) -> None:
    site.link("kit", {"LICENSE": ""})
    assert "ModuleNotFoundError" in site.fail("-c", "import LICENSE")


def test_a_link_that_nobody_owns_promises_nothing(site: LinkedSite) -> None:
    entry = site.link("kit", {"kit.py": ""})
    remove(entry)
    (site.links / "kit.link").unlink()
    assert "ModuleNotFoundError" in site.fail("-c", "import kit")
    # an owner of another entry, be its name the beginning of this one's
    other = site.link("other", {"other.py": ""})
    manifest = site.links / "other.link"
    manifest.write_text(manifest.read_text().replace(str(other), str(entry)[:-1]))
    assert "ModuleNotFoundError" in site.fail("-c", "import kit")
    shutil.rmtree(site.links)
    assert "ModuleNotFoundError" in site.fail("-c", "import kit")


def test_what_pip_writes_over_a_linked_distribution_is_what_imports(
    site: LinkedSite,
) -> None:
    """``pip install --ignore-installed``: the links stay, in no RECORD any more."""
    entry = site.link("kit", {"kit/__init__.py": "", "kit/leaf.py": "value = 'old'"})
    site.add("kit", {"kit/__init__.py": "", "kit/leaf.py": "value = 'new'"})
    assert site.run(value_of("kit.leaf")) == "new"
    remove(entry)
    assert site.run(value_of("kit.leaf")) == "new"
    assert "ModuleNotFoundError" in site.fail("-c", "import kit.missing")


def test_what_is_copied_out_of_the_store_can_be_written(
    site: LinkedSite, tmp_path: Path
) -> None:
    site.link("one", {"one/__init__.py": "", "one/template/a.txt": "text"})
    stored = Path(
        site.run("import os, one; print(os.path.realpath(one.__path__[0]))").strip()
    )
    entry = stored.parents[1]
    entry.chmod(0o755)
    (entry / "entry.json").touch()
    code = f"""
import os, shutil, one
for number, source in enumerate((one.__path__[0], {str(stored)!r})):
    target = os.path.join({str(tmp_path)!r}, str(number))
    shutil.copytree(source + "/template", target)
    print(oct(os.stat(target + "/a.txt").st_mode), oct(os.stat(target).st_mode))
"""
    assert site.run(code).split() == ["0o100644", "0o40755"] * 2


def test_what_is_read_only_elsewhere_stays_so_in_a_copy(
    site: LinkedSite, tmp_path: Path
) -> None:
    (tmp_path / "a").touch(mode=0o444)
    code = (
        f"import shutil; shutil.copy2({str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r})"
    )
    site.run(code)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("number", ["EACCES", "EROFS", "EPERM"])
def test_a_write_into_an_entry_that_is_refused_names_the_setting(
    site: LinkedSite, number: str
) -> None:
    site.link("one", {"one/__init__.py": ""})
    refuse = f"raise OSError(errno.{number}, 'refused', one.__path__[0] + '/cache')"
    said = site.fail("-c", f"import errno, one; {refuse}")
    assert said.startswith("one 1.0 is linked to the store entry")
    assert said.endswith("--shared-store-real one --force-reinstall --no-deps one==1.0")
    wrapped = f"try:\n {refuse}\nexcept OSError as error:\n raise KeyError from error"
    assert "--shared-store-real one" in site.fail("-c", f"import errno, one\n{wrapped}")


@pytest.mark.parametrize(
    "code",
    [
        "raise OSError(13, 'refused', '/elsewhere')",
        "raise OSError(28, 'full', one.__path__[0] + '/cache')",
        "raise KeyError",
    ],
)
def test_other_errors_are_followed_by_nothing(site: LinkedSite, code: str) -> None:
    site.link("one", {"one/__init__.py": ""})
    assert "shared-store" not in site.fail("-c", f"import one; {code}")


def test_who_looks_for_cuda_in_site_packages_finds_the_view(site: LinkedSite) -> None:
    ask = "import site; ours = __import__('site').getsitepackages()"
    site.link("cuda", {"cuda/pathfinder/__init__.py": ask, "other.py": ask})
    code = (
        "import cuda.pathfinder as cuda, other; print(*other.ours, '+', *cuda.ours[1:])"
    )
    others, _, more = site.run(code).strip().partition(" + ")
    assert others == str(site.path)
    assert more == str(site.view)


def test_cmake_searches_the_view_after_what_was_given(site: LinkedSite) -> None:
    site.link("scikit-build-core", {"scikit_build_core/__init__.py": ""})
    code = "import os, scikit_build_core; print(os.environ['CMAKE_PREFIX_PATH'])"
    assert site.run(code).strip() == str(site.view)
    given = site.run(code, CMAKE_PREFIX_PATH="/given")
    assert given.strip() == f"/given{os.pathsep}{site.view}"
