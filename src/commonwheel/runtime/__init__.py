"""What an environment needs to serve links: the runtime and what starts it.

``_commonwheel.py`` is copied from here as it is; nothing imports it from here.
"""

from __future__ import annotations

from pathlib import Path

from commonwheel import manifest

MODULE = "_commonwheel.py"
SOURCE = Path(__file__).with_name(MODULE)
START_UP = "00_commonwheel.pth"

# `sitedir` is a variable of the function of `site` that executes the line.
_CALL = "_commonwheel.install(locals().get('sitedir'))"
# The path line is for tools that read .pth files and do not execute them, and for
# imports without the runtime.
_PATH_LINE = f"{manifest.VIEW}\n".encode("ascii")
_RUNTIME = SOURCE.read_bytes()

_FIRST_WITHOUT_IMPORT_LINES = (3, 18)


def files(version: str) -> dict[str, bytes]:
    """The files of site-packages, by name, for an interpreter of ``version``."""
    started = start_up("00_commonwheel", "_commonwheel", _CALL, version)
    started[START_UP] = started.get(START_UP, b"") + _PATH_LINE
    return {MODULE: _RUNTIME, **started}


def start_up(stem: str, module: str, call: str, version: str) -> dict[str, bytes]:
    """The file, by name, that lets an interpreter of ``version`` start ``module``.

    ``call`` does it, in an import line; its ``install`` function does it elsewhere. From
    Python 3.18 on, import lines of ``.pth`` files are ignored and ``.start`` files take
    their place (:pep:`829`). Before, a ``.start`` file would start the module later than
    other packages' import lines, and make ``site`` import more.
    """
    if tuple(map(int, version.split(".")[:2])) >= _FIRST_WITHOUT_IMPORT_LINES:
        return {f"{stem}.start": f"{module}:install\n".encode("ascii")}
    # The line may never fail nor print: it runs at every start of the interpreter, even
    # if somebody removed or damaged the module.
    code = rf"try:\n import {module}\n {call}\nexcept Exception:\n pass"
    return {f"{stem}.pth": f'import sys; exec("{code}")\n'.encode("ascii")}


def bytecode_name(module: str, cache_tag: str) -> str:
    """Where the bytecode of a module's file is looked for beside it (:pep:`3147`)."""
    return f"__pycache__/{module.removesuffix('.py')}.{cache_tag}.pyc"
