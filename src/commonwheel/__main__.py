"""The program ``commonwheel``, also ``python -m commonwheel``.

``commonwheel run`` starts programs, which nobody wants to wait for: that it can, it does
before anything else is imported.
"""

import sys

from commonwheel.frontends import interruption


def main() -> int:
    """Run the command; returns the exit status."""
    interruption.end_at_once()
    if sys.argv[1:2] == ["run"]:
        from commonwheel.frontends import run_start

        run_start.start(sys.argv[2:])
    try:
        from commonwheel.frontends import cli
    except (ImportError, MemoryError, OSError, SystemError) as error:
        # a damaged installation, or no memory, files or rights left to import it;
        # `SystemError`: where an interpreter itself loses that it had no memory
        reason = str(error) or "out of memory"
        sys.stderr.write(f"commonwheel: error: it cannot be started: {reason}\n")
        return 1
    status = cli.main()
    interruption.come_too_late()
    return status


if __name__ == "__main__":
    sys.exit(main())
