"""The command line: ``course-lib train|search|bench|progress|grade|doctor``.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

from course_lib.cli.command import main, parser

__all__ = ["main", "parser"]
