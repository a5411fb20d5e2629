"""Says what an environment is like: run by its interpreter, prints facts as JSON.

A stand-alone file, run by ``python -c`` (so that nothing beside it can be imported)
with a request as its argument: a JSON object of what to look at -> its arguments, see
:data:`LOOKS`. A fact is a path-like name ("module six > loader") and a value; the
environment's own folder reads ``<env>``, so that the facts of two environments can be
compared. What cannot be done (an import that fails) is a fact as well.
"""

import base64
import hashlib
import importlib
import importlib.metadata as metadata
import importlib.resources
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import stat
import sys
import sysconfig

PREFIX = sys.prefix
SITE = sysconfig.get_path("purelib")
SAMPLED = 3
"""Of the data files of each package, how many ``pkgutil.get_data`` is asked for."""

compiled = []


def note_compilation(event, arguments):
    """Audit hook: which modules the import system compiles, for want of bytecode."""
    if event == "compile" and str(arguments[1]).endswith(".py"):
        caller = sys._getframe(1).f_code.co_filename
        if caller.startswith("<frozen importlib"):
            compiled.append(str(arguments[1]))


def attempt(function, *arguments):
    """What ``function`` returns, or the exception it ends with, as text."""
    try:
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001  even SystemExit is a result here
        return f"{type(error).__qualname__}: {error}"


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def look_at_modules(names):
    """Import them one after the other; a ``__main__`` is only looked up."""
    for name in names:
        yield from label(f"module {name}", attempt(dict, describe_module(name)))


def describe_module(name):
    if name.rpartition(".")[2] == "__main__":
        yield from describe_spec(attempt(importlib.util.find_spec, name))
        return
    module = attempt(importlib.import_module, name)
    if isinstance(module, str):
        yield "error", module
        return
    yield from describe_spec(getattr(module, "__spec__", None))
    for attribute in ("__name__", "__package__", "__file__", "__cached__"):
        yield attribute, repr(getattr(module, attribute, None))
    yield "names", digest(" ".join(sorted(attempt(dir, module))).encode())
    path = getattr(module, "__path__", None)
    yield "kind of path", type(path).__qualname__
    if path is not None:
        yield "path", [str(folder) for folder in path]
        yield "submodules", sorted(found[1:] for found in pkgutil.iter_modules(path))
    source = attempt(inspect.getsource, module)
    is_error = re.match(r"[A-Za-z]+Error: ", source)
    yield "source", source if is_error else digest(source.encode("utf-8", "replace"))


def describe_spec(spec):
    yield "loader", type(getattr(spec, "loader", None)).__qualname__
    for attribute in ("name", "origin", "has_location", "parent"):
        yield f"spec {attribute}", repr(getattr(spec, attribute, None))
    found = getattr(spec, "submodule_search_locations", None)
    yield "kind of search locations", type(found).__qualname__


def look_at_resources(packages):
    """Walk the packages (imported before) and read all that is in them."""
    for package in packages:
        spec = getattr(sys.modules.get(package), "__spec__", None)
        if getattr(spec, "submodule_search_locations", None):
            found = attempt(dict, walk_package(package))
            yield from label(f"resource {package}", found)
            yield from label(f"data {package}", dict(sample_data(package, found)))


def walk_package(package):
    yield from walk(importlib.resources.files(package), package)


def walk(folder, name):
    for item in folder.iterdir():
        path = f"{name}/{item.name}"
        if item.is_dir() and item.name != "__pycache__":
            yield from walk(item, path)
        elif not item.is_dir():
            yield path, digest(item.read_bytes())


def sample_data(package, found):
    inside = [path.partition("/")[2] for path in sorted(found)]
    inside = [path for path in inside if path and not path.endswith(".py")]
    inside = [path for path in inside if not os.path.basename(path).startswith(".")]
    for path in inside[:SAMPLED]:
        data = attempt(pkgutil.get_data, package, path)
        yield f"{package}/{path}", digest(data) if isinstance(data, bytes) else data


def look_at_metadata(name):
    """All that :mod:`importlib.metadata` has to say of a distribution."""
    found = metadata.distribution(name)
    yield "name", found.metadata["Name"]
    yield "version", found.version
    yield "metadata", found.metadata.json
    yield "requires", found.requires
    yield "origin", str(getattr(found, "origin", None))
    for point in found.entry_points:
        loaded = attempt(point.load)
        what = loaded if isinstance(loaded, str) else type(loaded).__qualname__
        name = getattr(loaded, "__qualname__", None) or getattr(loaded, "__name__", None)
        where = getattr(loaded, "__module__", None)
        yield f"entry point {point.group} {point.name}", [point.value, what, where, name]
    for file in found.files:
        yield from label(f"file {file}", dict(describe_file(file)))
    folder = str(found._path)
    for current, _, files in os.walk(folder):
        for name in files:
            path = os.path.relpath(os.path.join(current, name), folder)
            if path != "RECORD":  # its rows are the files above
                yield f"text of {path}", attempt(found.read_text, path)


def describe_file(file):
    """A row of RECORD, and what is there."""
    place = file.locate()
    if not place.is_file():
        yield "row", [file.hash and file.hash.value, file.size]
        yield "there", "a folder" if place.is_dir() else "nothing"
        return
    data = place.read_bytes()
    yield "there", "a file"
    if PREFIX.encode() in data:  # such as a script: another file in each environment
        data = data.replace(PREFIX.encode(), b"<env>")
        yield "row", "own"
    else:
        yield "row", [file.hash and file.hash.value, file.size]
    yield "row is true", is_true(file, place.read_bytes())
    if not place.name.endswith(".pyc"):
        yield "content", digest(data)
    mode = place.stat().st_mode
    yield "executable", bool(mode & 0o111)
    yield "mode", f"{stat.S_IMODE(mode):o}"


def is_true(row, data):
    """Whether hash and size in a row of RECORD are those of ``data``; None: not given."""
    if row.hash is None:
        return None
    actual = base64.urlsafe_b64encode(hashlib.new(row.hash.mode, data).digest())
    return (row.hash.value, row.size) == (actual.decode().rstrip("="), len(data))


def look_at_site(_):
    """What is asked of an environment, not of a distribution."""
    for name, found in metadata.packages_distributions().items():
        yield f"distributions of {name}", sorted(set(found))
    for found in metadata.distributions():
        yield f"distribution {found.metadata['Name']}", found.version
        for point in found.entry_points:
            yield f"entry point {point.group} {point.name}", point.value
    for found in pkgutil.iter_modules([SITE]):
        yield f"in site-packages > {found.name}", found.ispkg
    for found in pkgutil.iter_modules():
        yield f"anywhere > {found.name}", [str(found.module_finder.path), found.ispkg]
    yield "sys.path", [path for path in sys.path if path.startswith(PREFIX)]


def label(prefix, facts):
    if not isinstance(facts, dict):
        return {f"{prefix} > cannot": facts}.items()
    return {f"{prefix} > {key}": value for key, value in facts.items()}.items()


LOOKS = {
    "site": look_at_site,
    "modules": look_at_modules,
    "resources": look_at_resources,
    "metadata": look_at_metadata,
}


def main(request):
    sys.addaudithook(note_compilation)
    sys.argv[1:] = []
    facts = {}
    for what, arguments in json.loads(request).items():
        facts.update(label(what, attempt(dict, LOOKS[what](arguments))))
    facts["compiled"] = sorted(compiled)
    text = json.dumps(facts).replace(PREFIX, "<env>")
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    with os.fdopen(ANSWER, "w") as answer:
        answer.write(text)
    os._exit(0)  # what the imported packages want to do at exit is of no interest


if __name__ == "__main__":
    # Imported packages may print; the answer goes where standard output was.
    ANSWER = os.dup(1)
    os.dup2(2, 1)
    main(sys.argv[1])
