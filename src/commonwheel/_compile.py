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

import errno
import importlib.util
import marshal
import os
import sys
import warnings

UNCHECKED = (0b01).to_bytes(4, "little")
"""The flags of such a file (:pep:`552`)."""


def main(tree: str, output: str) -> None:
    warnings.simplefilter("ignore")
    for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
        name = os.fsdecode(path)
        with open(os.path.join(tree, name), "rb") as file:
            source = file.read()
        bytecode = compiled(source, name)
        if bytecode is not None:
            target = importlib.util.cache_from_source(
                os.path.join(output, name), optimization=""
            )
            write(target, bytecode)


def compiled(source: bytes, name: str) -> "bytes | None":
    """The bytecode of a source; None if it does not compile."""
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
        content = marshal.dumps(code)
    except MemoryError:
        claim_memory(len(source))
        return None
    except Exception:  # noqa: BLE001  as `py_compile` does
        return None
    head = importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source)
    return head + content


def write(target: str, content: bytes) -> None:
    """Write a file, all of it.

    `py_compile` of most Pythons does not notice that the system has taken a part only,
    for want of room: https://github.com/python/cpython/issues/126606
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        with open(target, "wb") as file:
            file.write(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error


def claim_memory(size: int) -> None:
    """Raise :exc:`MemoryError` if a source of ``size`` bytes needs more than there is.

    Python says the same of a source that is nested too deeply, which no memory helps.
    """
    bytearray((16 << 20) + 200 * size)


if __name__ == "__main__":
    # the last line is for bytecode.py: what the system lacks, and where
    try:
        main(*sys.argv[1:])
    except MemoryError:
        sys.exit(f"errno {errno.ENOMEM}")
    except OSError as error:
        sys.exit(f"errno {error.errno or errno.EIO} {error.filename or ''}")
