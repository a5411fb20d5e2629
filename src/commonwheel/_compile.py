"""Compile Python source files to bytecode: run by the interpreter that will import it.

A stand-alone file for any Python from 3.9 on, started as ``python -s -S _compile.py
TREE OUTPUT`` with the files' paths relative to ``TREE``, each ended by a zero byte, on
its standard input. The bytecode of ``a/b.py`` goes to ``OUTPUT/a/__pycache__/b.TAG.pyc``
(:pep:`3147`).

Of Python's variables only ``PYTHONHASHSEED`` is set, which ``-I`` would ignore: the same
source gives the same bytecode, whoever compiles it and when.

It is marked "unchecked" (:pep:`552`): the interpreter does not compare it with the
source, because an entry's source never changes, and a store that was copied or restored
without its time stamps keeps working. Source that does not compile (a template, a test
of syntax errors) is passed over, as every installer does.
"""

import sys

del sys.path[0]  # the folder of this file, whose other modules are none of Python's

import importlib.util  # noqa: E402
import os  # noqa: E402
import py_compile  # noqa: E402
import warnings  # noqa: E402


def main(tree: str, output: str) -> None:
    warnings.simplefilter("ignore")
    for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
        name = os.fsdecode(path)
        try:
            py_compile.compile(
                os.path.join(tree, name),
                cfile=importlib.util.cache_from_source(
                    os.path.join(output, name), optimization=""
                ),
                dfile=name,
                doraise=True,
                optimize=0,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except (py_compile.PyCompileError, RecursionError, ValueError):
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
