"""Without Dask, what needs it says how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_DASK = """
import sys
sys.modules["distributed"] = None  # an import of it now fails as if it were not installed
import numpy as np
from course_lib import SGD, mlp
from course_lib.parallel import search, train
net, data = mlp([1, 1], loss="mse"), (np.ones((4, 1)), np.ones(4))
options = dict(optimizer=SGD(0.1), epochs=1, batch_size=2)
train(net, data, comm="inprocess", **options)
{call}
"""


@pytest.mark.parametrize(
    "call",
    [
        "train(net, data, **options)",
        "from course_lib.parallel import gang",
        "search.grid(lambda trial: 0.0, {'a': [1]})",
    ],
)
def test_what_needs_dask_names_the_command_and_the_rest_works(call: str, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DASK.format(call=call)],
        cwd=root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'pip install "course-lib[parallel]"' in done.stderr.splitlines()[-1]
