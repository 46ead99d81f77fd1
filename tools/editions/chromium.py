"""Runs Chromium without a window: it sets the formulas of the editions that are one file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile


def chromium(*arguments: str, seconds: float) -> str:
    """Run Chromium without a window; return what it writes.

    Raises
    ------
    FileNotFoundError
        If it is not installed.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("Chromium is not installed. On Debian: apt install chromium")
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # in a container there is none
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--allow-file-access-from-files",
                f"--user-data-dir={profile}",
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        )
    return done.stdout
