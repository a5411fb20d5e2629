"""Compile Python source files to bytecode: run by the interpreter that will import it.

A stand-alone file for any Python from 3.9 on, started as ``python -I -S _compile.py
TREE OUTPUT`` with the files' paths relative to ``TREE``, each ended by a zero byte, on
its standard input. The bytecode of ``a/b.py`` goes to ``OUTPUT/a/__pycache__/b.TAG.pyc``
(:pep:`3147`).

It is marked "unchecked" (:pep:`552`): the interpreter does not compare it with the
source, because an entry's source never changes, and a store that was copied or restored
without its time stamps keeps working. Source that does not compile (a template, a test
of syntax errors) is passed over, as every installer does.
"""

import importlib.util
import os
import py_compile
import sys
import warnings


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
