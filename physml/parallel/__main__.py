"""python -m physml.parallel: describe and test the machine."""

import sys

from physml.parallel.report import main

if __name__ == "__main__":
    sys.exit(main())
