"""``python -m mlrisk`` is the ``mlrisk`` command."""

import sys

from mlrisk.cli import main

sys.exit(main())
