"""The program that serves pip: ``pip_client.py`` starts it, in commonwheel's interpreter.

It ends with its standard input, so it does not outlive pip for longer than the change
that it is making. Started by its path and with ``-I``, so that what it finds depends on
neither the folder nor the variables of whoever uses pip.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Serve standard input and output, which nothing else may write to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until there is something to stop
    packages = str(Path(__file__).parent.parent.parent)
    if packages not in sys.path:
        sys.path.append(packages)
    if sys.stderr is None:  # closed by whoever started pip
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        # a damaged installation is something to tell, too, and so is no memory left
        from commonwheel.frontends import pip_service
    except (ImportError, MemoryError, OSError, SystemError) as error:
        reason = str(error) or "out of memory"
        message = {"error": f"commonwheel is not usable: {reason}"}
        answers.write(json.dumps(message).encode("ascii") + b"\n")
        return 1
    try:
        pip_service.serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        return 1  # pip was killed
    return 0


if __name__ == "__main__":
    sys.exit(main())
