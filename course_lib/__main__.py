"""The command line without the script on the path: ``python -m course_lib train --help``.

Chapter: none; see :mod:`course_lib.cli`.
"""

from __future__ import annotations

import sys

from course_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
