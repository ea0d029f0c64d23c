"""`python -m eqvid_tf.cli` is `eqvid`."""

import sys

from eqvid_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
