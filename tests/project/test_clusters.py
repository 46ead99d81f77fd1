"""The recipes for clusters: those that this machine can run are run, the others say that not."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.patience import patient

pytest.importorskip("distributed")
pytest.importorskip("sklearn")
psutil = pytest.importorskip("psutil")


def run(command, root):
    """Run a recipe, and see that it listens on 127.0.0.1 only: all of these have no other host."""
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHON": sys.executable}
    started, seen = time.monotonic(), set()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=out, stderr=err)
        while process.poll() is None:
            if time.monotonic() > started + patient(100):
                process.kill()
            seen |= listening()
            time.sleep(0.05)
        out.seek(0)
        err.seek(0)
        done = subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())
    assert seen == {"127.0.0.1"}
    return done


def listening():
    """The addresses on which this process and all that it has started listen."""
    found = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended
            connections = process.net_connections("inet")
            found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return found


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
            lo = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
            yield ["--interface", lo, "--port", str(port), "--key", str(tmp_path / "user"),
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


SLURM = """
import runpy, sys, types

made = types.ModuleType("dask_jobqueue")
def SLURMCluster(**options):
    print({name: options.get(name) for name in
           ("interface", "security", "scheduler_options", "worker_extra_args")})
    sys.exit()
made.SLURMCluster = SLURMCluster
sys.modules["dask_jobqueue"] = made
sys.argv = ["slurm.py", "ib0"]
runpy.run_path("examples/clusters/slurm.py", run_name="__main__")
"""


def test_jobs_of_slurm_have_a_network_certificates_and_no_dashboard_for_others(root):
    done = subprocess.run([sys.executable, "-c", SLURM], cwd=root, capture_output=True, text=True)
    assert ast.literal_eval(done.stdout) == {
        "interface": "ib0",
        "security": True,
        "scheduler_options": {"interface": "ib0", "dashboard_address": "127.0.0.1:0"},
        "worker_extra_args": ["--dashboard-address", "127.0.0.1:0"],
    }, done.stderr
