"""What an environment needs to serve links: the runtime and what starts it.

``_commonwheel.py`` is copied from here as it is; nothing imports it from here.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

from commonwheel import manifest

MODULE = "_commonwheel.py"
SOURCE = Path(__file__).with_name(MODULE)
START_UP = "00_commonwheel.pth"
START_UP_ENTRY = "00_commonwheel.start"

# The import line may never fail nor print: it runs at every start of the interpreter,
# even if somebody removed or damaged the runtime. `sitedir` is a variable of the
# function of `site` that executes the line.
_START = """\
try:
 import _commonwheel
 _commonwheel.install(locals().get('sitedir'), {home})
except Exception:
 pass
"""
# The path line is for tools that read .pth files and do not execute them, and for
# imports without the runtime.
_PATH_LINE = f"{manifest.VIEW}\n"
_LINE = re.compile(r"^import sys; exec\((.+)\)$", re.MULTILINE)
_CALL = re.compile(
    r"_commonwheel\.install\(locals\(\)\.get\('sitedir'\), (.+)\)$", re.MULTILINE
)
_ENTRY = "_commonwheel:install\n"
_RUNTIME = SOURCE.read_bytes()

_FIRST_WITHOUT_IMPORT_LINES = (3, 18)


def files(version: str, site: Path) -> dict[str, bytes]:
    """The files of the folder ``site``, by name, for an interpreter of ``version``.

    From Python 3.18 on, import lines of ``.pth`` files are ignored and ``.start`` files
    take their place (:pep:`829`). Before, a ``.start`` file would start the runtime
    later than other packages' import lines, and make ``site`` import more.
    """
    if tuple(map(int, version.split(".")[:2])) < _FIRST_WITHOUT_IMPORT_LINES:
        # a line of ASCII: the encoding that `site` reads it by has changed with time
        code = ascii(_START.format(home=ascii(os.path.abspath(site))))
        start_up = {START_UP: f"import sys; exec({code})\n{_PATH_LINE}"}
    else:
        start_up = {START_UP: _PATH_LINE, START_UP_ENTRY: _ENTRY}
    encoded = {name: text.encode("ascii") for name, text in start_up.items()}
    return {MODULE: _RUNTIME, **encoded}


def is_right(name: str, found: bytes, version: str, site: Path) -> bool:
    """Whether one of the :func:`files` of a folder is as it should be.

    The start-up file names the folder by any of its paths: they may lead through links.
    """
    if found == files(version, site).get(name):
        return True
    home = home_of(found.decode("ascii", "replace")) if name == START_UP else None
    try:
        is_here = home is not None and home.samefile(site)
    except OSError:
        return False
    return is_here and home is not None and found == files(version, home)[name]


def home_of(start_up: str) -> Path | None:
    """The folder that a start-up file was written for; None if it does not say that."""
    line = _LINE.search(start_up)
    try:
        call = _CALL.search(ast.literal_eval(line[1])) if line is not None else None
        return Path(ast.literal_eval(call[1])) if call is not None else None
    except (ValueError, SyntaxError, TypeError):
        return None  # somebody has edited it


def bytecode_name(cache_tag: str) -> str:
    """Where the runtime's bytecode is looked for in site-packages (:pep:`3147`)."""
    return f"__pycache__/{MODULE.removesuffix('.py')}.{cache_tag}.pyc"
