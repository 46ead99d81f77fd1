"""A program that calls a training, to be killed: prints each event, and at the end the bits."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from course_lib.parallel.comm import outcome
from course_lib.parallel.launch import workers
from tools.soak.trainings import program


def hurry(timeout: float) -> None:
    """Have the package wait no longer than this where it gives somebody a second chance."""
    for module, name in ((outcome, "GRACE"), (workers, "_PATIENCE"), (workers, "_RESTART")):
        assert hasattr(module, name), f"{name} has another name now"
        setattr(module, name, timeout / 2 if name == "_PATIENCE" else timeout)


def main() -> None:
    """Run what the argument says, in JSON."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    job: dict[str, Any] = json.loads(sys.argv[1])
    hurry(job["timeout"])
    found = program(job.pop("program"))(**job, on_event=lambda event: print(event.kind, flush=True))
    print("digest", found.digest, flush=True)


if __name__ == "__main__":
    main()
