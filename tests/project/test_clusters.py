"""The recipes for clusters: those that this machine can run are run, the others say that not."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

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


def why_no_sshd():
    """Say what is missing for an ssh server of our own, or nothing."""
    if sys.platform == "win32" or not shutil.which("sshd", path=SBIN):
        return "needs sshd, of the package openssh-server"
    if not shutil.which("ssh-keygen"):
        return "needs ssh-keygen, of the package openssh-client"
    if os.geteuid() == 0 and not Path("/run/sshd").is_dir():
        return "sshd of the superuser needs the folder /run/sshd"
    return ""


SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


@pytest.fixture
def sshd(root, tmp_path):
    """Where an ssh server of our own listens, the key that it takes, and the file of its own."""
    if missing := why_no_sshd():
        pytest.skip(missing)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "PidFile": "none", "StrictModes": "no",
        "HostKey": tmp_path / "host", "AuthorizedKeysFile": tmp_path / "user.pub",
        "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "UsePAM": "no",
        "SetEnv": f'PYTHONPATH="{paths}"',
    }  # fmt: skip
    (tmp_path / "sshd_config").write_text("".join(f"{k} {v}\n" for k, v in settings.items()))
    key = (tmp_path / "host.pub").read_text("ascii")
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}", "ascii")
    command = [shutil.which("sshd", path=SBIN), "-D", "-e", "-f", str(tmp_path / "sshd_config")]
    with open(tmp_path / "sshd.log", "w") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                pytest.fail((tmp_path / "sshd.log").read_text())
            yield ["--port", str(port), "--key", str(tmp_path / "user"),
                   "--known-hosts", str(tmp_path / "known_hosts")]  # fmt: skip
        finally:
            server.terminate()


def test_hosts_reached_by_ssh(root, sshd):
    """The three hosts are this machine, but each is logged in to, over ssh, with a key."""
    pytest.importorskip("asyncssh", reason="needs asyncssh, which Dask's SSHCluster needs")
    done = run([sys.executable, "examples/clusters/ssh.py", *["127.0.0.1"] * 3, *sshd], root)
    assert done.returncode == 0, done.stderr
    assert "replicas identical: yes" in done.stdout


@pytest.mark.parametrize("name", ["cuda", "slurm", "kubernetes"])
def test_what_is_not_run_says_so_and_is_at_least_python(root, name):
    text = (root / "examples" / "clusters" / f"{name}.py").read_text("utf-8")
    assert "NOT RUN by the tests" in (ast.get_docstring(ast.parse(text)) or "")
    assert 'if __name__ == "__main__":' in text
