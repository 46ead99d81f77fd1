"""Jobs of SLURM, by dask-jobqueue. NOT RUN by the tests: written from its documentation.

    pip install dask-jobqueue
    python examples/clusters/slurm.py

Jobs start when the queue lets them, so `timeout` is long, and `workers` is (least, most): the
training starts with those that are there. A job that ends at its time limit is a lost worker, and
the training goes on from its checkpoint.
"""

from __future__ import annotations

from course_lib import Adam, mlp
from course_lib.data import load_digits
from course_lib.parallel import train


def main() -> None:
    """Train on two to four jobs of one worker each."""
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    with (
        SLURMCluster(
            cores=1,
            processes=1,  # one worker per job
            memory="4GB",
            walltime="01:00:00",
            job_script_prologue=["export OMP_NUM_THREADS=1"],
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
