"""The GPUs of this machine, by Dask-CUDA. NOT RUN by the tests: written from its documentation.

    pip install dask-cuda
    python examples/clusters/cuda.py

One worker per GPU. Dask-CUDA shows each worker all GPUs, its own first, and each rank takes the
first that no other rank has. `device="cuda"` makes it an error if one has none; then gradients
travel by NCCL. On several machines start `dask cuda worker SCHEDULER` on each, and pass the
scheduler's address as `client`.
"""

from __future__ import annotations

from functools import partial

from course_lib.data import load_digits


def main() -> None:
    """Train a PyTorch module on all GPUs."""
    import torch
    from dask_cuda import LocalCUDACluster
    from distributed import Client
    from torch import nn
    from torch.utils.data import TensorDataset

    from course_lib.parallel.torch_ddp import train

    data = load_digits()
    rows = torch.tensor(data.x_train, dtype=torch.float32), torch.tensor(data.y_train)
    held_out = torch.tensor(data.x_test, dtype=torch.float32), torch.tensor(data.y_test)
    with (
        LocalCUDACluster(threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        result = train(
            nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)),
            TensorDataset(*rows),
            nn.CrossEntropyLoss(reduction="none"),
            partial(torch.optim.Adam, lr=1e-3),
            epochs=10, batch_size=64, workers=len(client.nthreads()), client=client,
            device="cuda", validation=TensorDataset(*held_out),
        )  # fmt: skip
    print("validation loss:", [round(loss, 4) for loss in result.history["val_loss"]])
    print("replicas identical:", "yes" if result.replicas_identical else "NO")


if __name__ == "__main__":
    main()
