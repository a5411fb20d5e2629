"""Import distributions in a subinterpreter of the kind that the argument names."""

import json
import os
import sys

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters

CODE = """
import importlib.metadata, json, os
import labour.work, labour_space.one, labour_space.two

found = [
    labour.work.__file__,
    sorted(labour_space.__path__),
    importlib.metadata.version("labour"),
    [each.load()(2) for each in importlib.metadata.distribution("labour").entry_points],
]
os.write({0}, json.dumps(found).encode())
"""


def create(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated")


readable, writable = os.pipe()
interpreter = create(sys.argv[1])
error = interpreters.run_string(interpreter, CODE.format(writable))
interpreters.destroy(interpreter)
os.close(writable)
with open(readable, "rb") as answer:
    print(json.dumps([repr(error), json.loads(answer.read() or b"null")]))
