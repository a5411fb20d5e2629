"""``python -m commonwheel``."""

import sys

from commonwheel.frontends.cli import main

if __name__ == "__main__":
    sys.exit(main())
