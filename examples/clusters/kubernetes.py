"""Pods of Kubernetes, by dask-kubernetes. NOT RUN by the tests: written from its documentation.

    pip install dask-kubernetes      # and its operator in the cluster
    python examples/clusters/kubernetes.py registry.example.org/course-lib:latest

The image needs the same Python, Dask and course_lib as this machine. A pod that is evicted is a
lost worker; give `checkpoint=` a volume that all pods and this machine see to survive it.
"""

from __future__ import annotations

import sys

from course_lib import Adam, mlp
from course_lib.data import load_digits
from course_lib.parallel import train


def main() -> None:
    """Train on two pods."""
    from dask_kubernetes.operator import KubeCluster
    from distributed import Client

    if len(sys.argv) != 2:
        sys.exit("give the image of the workers")
    with (
        KubeCluster(name="course", image=sys.argv[1], n_workers=2) as cluster,
        Client(cluster) as client,
    ):
        result = train(
            mlp([64, 32, 10]), load_digits(), optimizer=Adam(0.01), epochs=3, batch_size=32,
            workers=2, client=client, timeout=300.0,
        )  # fmt: skip
    print(result.report())


if __name__ == "__main__":
    main()
