"""Jobs of SLURM, by dask-jobqueue. NOT RUN by the tests: written from its documentation.

    pip install dask-jobqueue cryptography
    python examples/clusters/slurm.py ib0

The argument is the network between the machines, by the name of its interface (`ip addr` lists
them). Scheduler and workers listen on it only, and let in only who has the certificates that are
made for this run: `security=True` writes them into the home directory, where the jobs read them and
no other user can. Dashboards are for the machine that they are on.

Jobs start when the queue lets them, so `timeout` is long, and `workers` is (least, most): the
training starts with those that are there. A job that ends at its time limit is a lost worker, and
the training goes on from its checkpoint.
"""

from __future__ import annotations

import sys

from course_lib import Adam, mlp
from course_lib.data import load_digits
from course_lib.parallel import train


def main() -> None:
    """Train on two to four jobs of one worker each."""
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    if len(sys.argv) != 2:
        sys.exit("give the interface of the network between the machines, such as ib0")
    nobody_else = "127.0.0.1:0"
    with (
        SLURMCluster(
            cores=1,
            processes=1,  # one worker per job
            memory="4GB",
            walltime="01:00:00",
            job_script_prologue=["export OMP_NUM_THREADS=1"],
            interface=sys.argv[1],
            security=True,
            shared_temp_directory="~",
            scheduler_options={"interface": sys.argv[1], "dashboard_address": nobody_else},
            worker_extra_args=["--dashboard-address", nobody_else],
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(jobs=4)
        result = train(
            mlp([64, 32, 10]), load_digits(), optimizer=Adam(0.01), epochs=50, batch_size=32,
            workers=(2, 4), client=client, checkpoint="run", timeout=600.0,
        )  # fmt: skip
    print(result.report())


if __name__ == "__main__":
    main()
