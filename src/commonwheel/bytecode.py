"""Bytecode for an entry, made by the interpreter that will import it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from commonwheel import shortage
from commonwheel.errors import InvalidEnvironment

_COMPILER = Path(__file__).with_name("_compile.py")
_FILES_A_PROCESS = 40
"""Below this many files, starting another process costs more than it saves."""


@dataclass(frozen=True)
class Compiler:
    """An interpreter to compile with."""

    python: Path
    cache_tag: str
    """Its ``sys.implementation.cache_tag``, which names its bytecode files."""

    def compile(self, tree: Path, sources: Sequence[str], output: Path) -> None:
        """Compile the files ``sources`` (paths relative to ``tree``) into ``output``.

        Large trees are shared out among as many processes as there are processors.

        :raises InvalidEnvironment: the interpreter does not run
        :raises OSError: the bytecode could not be written
        """
        workers = min(_processors(), 1 + len(sources) // _FILES_A_PROCESS)
        running: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(workers if sources else 0):
                share = "".join(f"{name}\0" for name in sources[number::workers])
                running.append(self._start(tree, output, os.fsencode(share)))
            for process in running:
                self._finish(process, output)
        finally:
            for process in running:
                if process.returncode is None:
                    process.kill()
                    process.communicate()

    def _start(self, tree: Path, output: Path, names: bytes) -> subprocess.Popen[bytes]:
        command = [str(self.python), "-I", "-S", str(_COMPILER), str(tree), str(output)]
        # A file, not a pipe: all workers can start before the first one reads.
        with _memory_file(output) as file:
            file.write(names)
            file.seek(0)
            try:
                return subprocess.Popen(command, stdin=file, stderr=subprocess.PIPE)
            except OSError as error:
                if shortage.is_one(error):
                    raise
                reason = f"it does not run ({error.strerror})"
                raise InvalidEnvironment(self.python, reason) from error

    def _finish(self, process: subprocess.Popen[bytes], output: Path) -> None:
        _, complaint = process.communicate()
        if process.returncode == 0:
            return
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else f"exit status {process.returncode}"
        failed = _FAILED.match(last)
        if failed is not None:
            code, path = int(failed[1]), failed[2] or str(output)
            raise OSError(code, os.strerror(code), path)
        if process.returncode < 0:
            last = shortage.killed_by(-process.returncode)
        raise InvalidEnvironment(self.python, f"it cannot compile bytecode: {last}")


_FAILED = re.compile(r"errno (\d+)(?: (.*))?$")
"""The last line of ``_compile.py`` if the system has failed it."""


def _memory_file(output: Path) -> IO[bytes]:
    """A file without a name; where there are none in memory it takes room in a folder."""
    if sys.platform == "linux":
        return open(os.memfd_create("names"), "w+b")
    return tempfile.TemporaryFile(dir=output)


def path_of(source: str, cache_tag: str) -> str:
    """Where the bytecode of a source file is looked for (:pep:`3147`)."""
    folder, name = os.path.split(source)
    return os.path.join(folder, "__pycache__", f"{name[:-3]}.{cache_tag}.pyc")


def is_reproducible(version: str) -> bool:
    """Whether a Python of ``version`` makes the same bytecode of a source each time.

    Up to 3.10 it writes constant sets in the order of their hashes, some of which are
    random, or addresses (https://bugs.python.org/issue37596).
    """
    return tuple(map(int, version.split(".")[:2])) >= (3, 11)


def checked(bytecode: bytes, source: os.stat_result) -> bytes:
    """The same bytecode, valid as long as its source has this time and size (:pep:`552`).

    A source file in an environment may be edited; those of the store are not.
    """
    stamp = (int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
    return bytecode[:4] + struct.pack("<III", 0, *stamp) + bytecode[16:]


def _processors() -> int:
    """How many of the machine's processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
