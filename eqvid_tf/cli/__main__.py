"""`python -m eqvid_tf.cli` is `eqvid`."""

import sys

from eqvid_tf.cli import main

sys.exit(main())
