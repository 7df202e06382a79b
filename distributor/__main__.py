"""`python -m distributor`."""

import sys

from distributor.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
