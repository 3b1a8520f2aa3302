import sys

from whenwhere.cli import main

sys.exit(main())
