"""A stand-in for uv: what it would install from wheels is linked first, then uv runs.

``commonwheel-uv``, and ``commonwheel uv``. A frontend that expects uv is pointed here
(``TOX_UV_PATH``, ``UV``, ``HATCH_ENV_TYPE_VIRTUAL_UV_PATH``); that is all the switching
on there is. Whatever is not an installation is uv's at once, in this very process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from commonwheel import shortage
from commonwheel.frontends import interruption

FAILED = 2
"""The exit status of an error, as uv has it."""


def main(given: Sequence[str] | None = None) -> int:
    """Run uv with the arguments ``given``, or this process's.

    Returns an exit status, if at all: where possible uv takes this process's place.
    """
    interruption.end_at_once()
    said = sys.argv[1:] if given is None else list(given)
    interrupted = interruption.Interruption()
    try:
        with interrupted:
            return _run(said)
    except KeyboardInterrupt:
        return _end(interrupted.signal or signal.SIGINT)


def _run(said: Sequence[str]) -> int:
    # not before Ctrl-C is as quiet as in uv
    from commonwheel.errors import CommonwheelError, explain
    from commonwheel.frontends.uv import arguments, program

    try:
        uv = program.find()
        command = arguments.parse(said)
        if command is None or not command.linkable:
            return uv.become(said)
        # it takes longer to import than most commands of uv take to run
        from commonwheel.frontends.uv import link

        return link.run(command, uv)
    except CommonwheelError as error:
        reason = str(error)
    except OSError as error:
        reason = explain(error)
    except MemoryError:
        reason = shortage.MEMORY
    print(f"commonwheel: error: {reason}", file=sys.stderr)
    return FAILED


def _end(number: int) -> int:
    """End as a program does that a signal ends: whoever started it can tell."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
