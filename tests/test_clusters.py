"""The recipes for clusters: those that this machine can run are run, the others say that not."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("distributed")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.timeout(110)


def run(command, root):
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHON": sys.executable}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def test_a_local_cluster(root):
    done = run([sys.executable, "examples/clusters/local.py"], root)
    assert done.returncode == 0, done.stderr
    assert "replicas identical: yes" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_processes_started_by_hand_with_certificates(root, tmp_path):
    pytest.importorskip("cryptography")
    done = run(["bash", "examples/clusters/processes.sh", str(tmp_path)], root)
    assert done.returncode == 0, done.stderr
    assert "replicas identical: yes" in done.stdout
    assert list((tmp_path / "run").glob("step-*.json"))


@pytest.mark.parametrize("name", ["ssh", "slurm", "kubernetes"])
def test_what_is_not_run_says_so_and_is_at_least_python(root, name):
    text = (root / "examples" / "clusters" / f"{name}.py").read_text("utf-8")
    assert "NOT RUN by the tests" in (ast.get_docstring(ast.parse(text)) or "")
    assert 'if __name__ == "__main__":' in text
