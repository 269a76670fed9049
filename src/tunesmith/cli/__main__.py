"""`python -m tunesmith.cli` is `tunesmith`, where the script is not on the path."""

import sys

from tunesmith.cli.main import main

sys.exit(main())
