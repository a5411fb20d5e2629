"""Gives pip its option ``--use-shared-store``, when and where pip is used.

Where commonwheel is installed, a start-up file imports this one file at every start of
the interpreter. It imports nothing and reads nothing but itself. In an environment that
commonwheel serves from outside (``commonwheel enable``, virtualenv's seeder) there is a
verbatim copy, which the runtime runs when pip is imported. What it does:

* It waits for pip to import its ``install`` or ``uninstall`` command, and then lets
  ``pip_hook.py`` (beside this file, with ``pip_client.py``) prepare it. A program that
  is not pip pays for this one small module at most.
* ``pip --python OTHER`` and pip's isolated builds start pip again by the path of a
  script, with an interpreter that need not have this file. They are given this file
  instead: as a script, it starts waiting and then runs the script that was meant.

It never fails: whatever is missing, pip works as if commonwheel were not there. Python
3.7 and later, because pip and its targets may be older than what can be linked.
"""

import os
import sys

_COMMANDS = {
    "pip._internal.commands.install": "register",
    "pip._internal.commands.uninstall": "register_uninstall",
}
"""The modules of pip that are waited for, and the functions that prepare them."""
_MAIN_PARSER = "pip._internal.cli.main_parser"
_SCRIPT = "_COMMONWHEEL_PIP_SCRIPT"
_PYTHON = "_COMMONWHEEL_PIP_PYTHON"
"""The environment variables that tell this file, as a script, what to run, and which
interpreter has commonwheel if this file is commonwheel's own.
"""

python = sys.executable


class _Loader:
    """The loader of a module of pip, followed by ours. (Not patched into the loader: in
    ``pip.pyz`` one ``zipimporter`` loads every module of the folder.)
    """

    def __init__(self, spec):  # type: ignore[no-untyped-def]
        self._spec = spec
        self._loader = spec.loader

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        return getattr(self._loader, name)

    def create_module(self, spec):  # type: ignore[no-untyped-def]
        return self._loader.create_module(spec)

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        module.__loader__ = self._spec.loader = self._loader
        self._loader.exec_module(module)
        try:
            register = _COMMANDS.get(module.__name__)
            if register is not None:
                hook = _load_hook()  # type: ignore[no-untyped-call]
                getattr(hook, register)(module, python, run_through_this_file)
            else:
                run_through_this_file(module)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001  pip works whatever became of this package
            return


class _CommonwheelPipFinder:
    @staticmethod
    def find_spec(fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        if fullname not in _COMMANDS and fullname != _MAIN_PARSER:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)  # finders of old lack it
            if find_spec is None or finder is _CommonwheelPipFinder:
                continue
            spec = find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Loader(spec)  # type: ignore[no-untyped-call]
                return spec
        return None


def install() -> None:
    """Start waiting; calling it again, or another copy of it, changes nothing."""
    ours = _CommonwheelPipFinder
    if not any(getattr(each, "__name__", "") == ours.__name__ for each in sys.meta_path):
        sys.meta_path.insert(0, ours)


def _load_hook():  # type: ignore[no-untyped-def]
    """Import ``pip_hook`` from the folder of this file, which need not be a package."""
    import importlib  # not needed by a program that is not pip

    package = type(sys)("_commonwheel_pip_files")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[package.__name__] = package
    return importlib.import_module(package.__name__ + ".pip_hook")


def run_through_this_file(module):  # type: ignore[no-untyped-def]
    """Let a module of pip that starts pip again start it through this file.

    Returns the function that takes that back.
    """
    original = module.get_runnable_pip

    def get_runnable_pip():  # type: ignore[no-untyped-def]
        os.environ[_SCRIPT], os.environ[_PYTHON] = original(), python
        return os.path.abspath(__file__)

    def take_back() -> None:
        module.get_runnable_pip = original

    module.get_runnable_pip = get_runnable_pip
    return take_back


def _run_script() -> None:
    """Run the script that was meant, as if it had been started itself."""
    import runpy  # not needed at the start of an interpreter

    global python
    script, python = os.environ.pop(_SCRIPT), os.environ.pop(_PYTHON)
    sys.argv[0] = script
    # the folder of the script that Python has started, unless it was told not to add it
    if os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
        sys.path[0] = os.path.dirname(script)
    install()
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    _run_script()
