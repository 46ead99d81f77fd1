"""A trained module on a cluster answers what it answers in one process, row by row."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import TensorDataset

from course_lib.parallel import torch_ddp

torch.manual_seed(4)
X, Y = torch.randn(23, 5).double(), torch.arange(23) % 2
LOSS = nn.CrossEntropyLoss(reduction="none")


class Both(nn.Module):
    """Returns two things, by name; has noise in training, and nothing that could be trained."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(5, 2).double().requires_grad_(False)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        logits = self.drop(self.line(x))
        return {"logits": logits, "both": (logits[:, 0], logits.argmax(1))}


@pytest.mark.parametrize("workers", [1, 3])
def test_predictions_come_in_the_order_of_the_rows(client, workers):
    module = Both()
    expected = module.eval()(X)
    module.train()
    for data in (TensorDataset(X, Y), TensorDataset(X)):
        found = torch_ddp.predict(
            module, data, batch_size=7, workers=workers, client=client, device="cpu"
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert module.training


def f1(outputs, labels):
    return f1_score(labels, outputs.argmax(1))


def right(outputs, labels):
    return outputs.argmax(1) == labels


def test_evaluation_is_that_of_one_process(client):
    module = nn.Linear(5, 2).double()
    found = torch_ddp.evaluate(
        module, TensorDataset(X, Y), LOSS, metrics={"accuracy": right}, set_metrics={"f1": f1},
        batch_size=7, workers=3, client=client, device="cpu",
    )  # fmt: skip
    with torch.no_grad():
        outputs = module(X)
    assert found.pop("f1") == f1_score(Y, outputs.argmax(1))
    accuracy = (outputs.argmax(1) == Y).double().mean().item()
    expected = {"loss": LOSS(outputs, Y).mean().item(), "accuracy": accuracy}
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"batch_size": 0}, "evaluate: batch_size must be an integer of at least 1"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"metrics": {"a": 3}}, "evaluate: a must be callable, got int"),
        ({"set_metrics": {"a": "f1"}}, "evaluate: a must be callable, got str"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_worker_is_asked(change, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        torch_ddp.evaluate(Both(), TensorDataset(X, Y), LOSS, client="tcp://nowhere:1", **change)
