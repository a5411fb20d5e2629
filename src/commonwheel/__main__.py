"""The program ``commonwheel``, also ``python -m commonwheel``.

``commonwheel run`` starts programs, which nobody wants to wait for: that it can, it does
before anything else is imported.
"""

import sys


def main() -> int:
    """Run the command; returns the exit status."""
    if sys.argv[1:2] == ["run"]:
        from commonwheel.frontends import run_start

        run_start.start(sys.argv[2:])
    from commonwheel.frontends import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
