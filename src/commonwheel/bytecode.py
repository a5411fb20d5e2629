"""Bytecode for an entry, made by the interpreter that will import it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
        workers = min(os.cpu_count() or 1, 1 + len(sources) // _FILES_A_PROCESS)
        running: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(workers if sources else 0):
                share = "".join(f"{name}\n" for name in sources[number::workers])
                running.append(self._start(tree, output, os.fsencode(share)))
            for process in running:
                self._finish(process, output)
        finally:
            for process in running:
                process.kill()
                process.wait()

    def _start(self, tree: Path, output: Path, names: bytes) -> subprocess.Popen[bytes]:
        command = [str(self.python), "-I", "-S", str(_COMPILER), str(tree), str(output)]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise InvalidEnvironment(self.python, f"it does not run ({error})") from error
        assert process.stdin is not None
        try:
            process.stdin.write(names)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has failed; what it said is read by _finish
        process.stdin = None
        return process

    def _finish(self, process: subprocess.Popen[bytes], output: Path) -> None:
        _, complaint = process.communicate()
        if process.returncode == 0:
            return
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {process.returncode}"
        if "OSError" in reason or "Error: [Errno" in reason:
            raise OSError(f"{reason} (compiling into {output})")
        raise InvalidEnvironment(self.python, f"it cannot compile bytecode: {reason}")
