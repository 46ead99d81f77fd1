"""Every public door of the PyTorch part refuses what means nothing, by a sentence."""

import numpy as np
import torch

from course_lib import SGD, mlp
from course_lib.torch_mlp import (
    TorchMLP,
    fit_torch,
    flatten,
    from_torch,
    layer_parameters,
    to_torch,
    torch_loss,
    torch_optimizer,
)
from tests.doors import (
    EMPTY,
    FLAG,
    NAME,
    ONLY,
    OPTIONAL,
    POSITIVE,
    WHOLE,
    WHOLE0,
    Door,
    check_all,
    door,
    every_argument,
    left_out,
)

NET = mlp([2, 3, 2])
THETA = NET.init(np.random.default_rng(0))
X, Y = np.random.default_rng(1).normal(size=(6, 2)), np.arange(6) % 2
MODEL = to_torch(NET, THETA)
VALUES = {p: p for p in MODEL.parameters()}

DOORS = [
    door(TorchMLP, net=(NET, ONLY), dtype=(torch.float32, ONLY)),
    door(to_torch, net=(NET, ONLY), theta=(THETA, ONLY)),
    door(from_torch, model=(MODEL, ONLY)),
    door(flatten, model=(MODEL, ONLY), values=(VALUES, ONLY)),
    door(layer_parameters, model=(MODEL, ONLY)),
    door(torch_loss, loss=("mse", NAME)),
    door(torch_optimizer, optimizer=(SGD(0.1), ONLY), parameters=(VALUES, ONLY)),
    door(fit_torch, model=(MODEL, ONLY), optimizer=(SGD(0.1), ONLY), x=(X, ONLY),
         y=(Y, ONLY, "y|targets|labels"), epochs=(1, WHOLE), batch_size=(3, WHOLE),
         seed=(0, WHOLE0), shuffle=(True, FLAG), device=("cpu", NAME), validation=(None, OPTIONAL),
         stop=(None, OPTIONAL), state=(None, OPTIONAL), first_epoch=(0, WHOLE0),
         weights=(None, OPTIONAL), clip=(None, POSITIVE | OPTIONAL),
         set_metrics=(None, OPTIONAL), keep_best=(None, OPTIONAL), better=(None, OPTIONAL),
         callbacks=((), EMPTY), progress=(False, FLAG)),
]  # fmt: skip


@every_argument(DOORS)
def test_what_means_nothing_is_refused_by_name(entry: Door, name: str) -> None:
    check_all(entry, name)


def test_no_argument_is_left_out() -> None:
    assert left_out(DOORS) == set()
