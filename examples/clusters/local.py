"""A cluster of processes of this machine, made by Dask; tested by tests/test_clusters.py.

python examples/clusters/local.py
"""

from __future__ import annotations

from course_lib import Adam, mlp
from course_lib.data import load_digits
from course_lib.parallel import train


def main() -> None:
    """Train on two processes."""
    from distributed import Client, LocalCluster

    data = load_digits()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        print("dashboard:", client.dashboard_link)
        result = train(
            mlp([64, 32, 10]), data, optimizer=Adam(0.01), epochs=3, batch_size=32,
            workers=2, client=client, validation=(data.x_test, data.y_test),
        )  # fmt: skip
    print(result.report())


# The worker processes import this file again; without this line each would start a cluster too.
if __name__ == "__main__":
    main()
