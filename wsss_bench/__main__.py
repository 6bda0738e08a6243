"""``python -m wsss_bench``: the command line, for launchers that start modules (torchrun)."""

import sys

from wsss_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
