"""`python -m erasable.cli`."""

import sys

from erasable.cli import main

sys.exit(main())
