"""Says what the packages of an environment do: run by its interpreter, prints JSON.

A stand-alone file, run by ``python -c`` with one word and its arguments: ``import``
MODULE..., ``load`` DISTRIBUTION (its entry points) or ``metadata``. A fact is a name and
a value; what cannot be done is a fact as well. Paths are as they are: whoever compares
two environments knows what to make of them.
"""

import hashlib
import importlib
import importlib.metadata
import json
import os
import sys

BY_INSTALLER = ("INSTALLER", "RECORD")
"""Files of ``.dist-info`` that say who installed a distribution, and how."""


def attempt(function, *arguments):
    """What ``function`` returns, or the exception it ends with, as text."""
    try:
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001  even SystemExit is a result here
        return f"{type(error).__qualname__}: {error}"


def look_at_imports(*names):
    for name in names:
        yield f"import {name}", attempt(describe_module, name)


def describe_module(name):
    module = importlib.import_module(name)
    folders = [str(folder) for folder in getattr(module, "__path__", ())]
    return ["ok", getattr(module, "__file__", None), folders]


def look_at_entry_points(name):
    for point in importlib.metadata.distribution(name).entry_points:
        yield f"load {point.group} {point.name}", attempt(describe_entry_point, point)


def describe_entry_point(point):
    found = point.load()
    name = getattr(found, "__qualname__", None) or getattr(found, "__name__", None)
    return ["ok", type(found).__qualname__, getattr(found, "__module__", None), name]


def look_at_metadata():
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        yield f"version of {name}", found.version
        yield f"requirements of {name}", found.requires
        points = [
            f"{each.group}: {each.name} = {each.value}" for each in found.entry_points
        ]
        yield f"entry points of {name}", sorted(points)
        for file in found.files or ():
            place = file.locate()
            if place.is_file():
                yield f"file {file}", attempt(describe_file, place)


def describe_file(place):
    """A digest of what a file holds; scripts name the environment they are in."""
    if place.parent.suffix == ".dist-info" and place.name in BY_INSTALLER:
        return "there"
    data = place.read_bytes().replace(os.fsencode(sys.prefix), b"<env>")
    return hashlib.sha256(data).hexdigest()[:16]


LOOKS = {
    "import": look_at_imports,
    "load": look_at_entry_points,
    "metadata": look_at_metadata,
}


if __name__ == "__main__":
    # Imported packages may print; the answer goes where standard output was.
    answer = os.dup(1)
    os.dup2(2, 1)
    look, *arguments = sys.argv[1:]
    del sys.argv[1:]
    facts = dict(LOOKS[look](*arguments))
    with os.fdopen(answer, "w") as stream:
        json.dump(facts, stream)
    os._exit(0)  # what the imported packages want to do at exit is of no interest
