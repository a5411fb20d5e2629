"""Start the interpreter with options, and with environment variables."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

MODULE = ("-m", "labour")
OPTIONS = [
    *("-B", "-E", "-I", "-O", "-OO", "-S", "-b", "-bb", "-q", "-s", "-u", "-v"),
    *("-Werror", "-Xdev", "-Xfrozen_modules=off", "-Ximporttime", "-Xutf8"),
    "-Xwarn_default_encoding",
]
if sys.version_info >= (3, 11):
    OPTIONS += ["-P"]
SITE = sysconfig.get_path("purelib")
VARIABLES = {
    "LC_ALL": "C",
    "PYTHONDEVMODE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPATH": SITE,
    "PYTHONPROFILEIMPORTTIME": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONTRACEMALLOC": "5",
    "PYTHONUTF8": "0",
    "PYTHONWARNINGS": "error",
}
TELL_IMPORTS = {"-v", "-Ximporttime", "PYTHONPROFILEIMPORTTIME"}
WHERE = """
import labour, labour_module, labour_space.one, labour_space.two
for module in (labour, labour_module, labour_space.one, labour_space.two):
    print(module.__name__, module.__file__, module.__cached__)
"""
AFTER_SITE = "import site; site.main(); import labour; print(labour.__file__)"
RUN = "import runpy; print(runpy.run_module('labour.work')['__file__'])"
RELOAD = (
    "import importlib, labour; print(importlib.reload(labour) is labour, labour.__file__)"
)


def said(*arguments, **variables):
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    tells_imports = TELL_IMPORTS & {*arguments, *variables}
    return [done.returncode, done.stdout, "" if tells_imports else done.stderr]


def main():
    found = {option: said(option, *MODULE, "an argument") for option in OPTIONS}
    found |= {key: said(*MODULE, **{key: VARIABLES[key]}) for key in VARIABLES}
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = said("-c", WHERE, PYTHONPYCACHEPREFIX=folder)
        found["PYTHONPYCACHEPREFIX"] = [
            str(each).replace(folder, "") for each in elsewhere
        ]
        program = os.path.join(folder, "program.pyz")
        with zipfile.ZipFile(program, "w") as archive:
            archive.writestr("__main__.py", WHERE)
        found["zip"] = said(program)
    found["code"] = said("-c", WHERE)
    found["-S, then site"] = said("-S", "-c", AFTER_SITE)
    found["runpy"] = said("-c", RUN)
    found["reload"] = said("-c", RELOAD)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
