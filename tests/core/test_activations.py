"""Every activation equals PyTorch's, and every derivative equals the slope of its function."""

import pickle

import numpy as np
import pytest
import torch

from course_lib import activations
from course_lib.activations import Activation, softmax

TORCH = {
    "identity": lambda z: z * 1.0,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "elu": torch.nn.functional.elu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.functional.softplus,
}
every_activation = pytest.mark.parametrize("act", activations.ALL.values(), ids=activations.ALL)
# Both sides of zero, the kink itself, and far out, where careless formulas overflow or cancel.
Z = np.concatenate([np.linspace(-8, 8, 41), [0.0, -1e-9, 1e-9, -40.0, 40.0, -800.0, 800.0]])


@every_activation
def test_value_and_derivative_equal_torch(act: Activation) -> None:
    z = torch.tensor(Z, requires_grad=True)
    a = TORCH[act.name](z)
    a.sum().backward()
    # A few ulp of rounding separate two correct implementations in float64.
    np.testing.assert_allclose(act(Z), a.detach().numpy(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(act.df(Z, act(Z)), z.grad.numpy(), rtol=1e-12, atol=1e-15)


@every_activation
def test_derivative_is_the_slope(act: Activation) -> None:
    z = np.linspace(-3.05, 3.05, 62)  # does not touch the kinks at 0
    h = 1e-5
    slope = (act(z + h) - act(z - h)) / (2 * h)
    # Central differences err by h² f'''/6 (1e-10) plus rounding / h (1e-11).
    np.testing.assert_allclose(act.df(z, act(z)), slope, rtol=0, atol=1e-9)


@every_activation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_shape_stay(act: Activation, dtype: type) -> None:
    z = np.linspace(-2, 2, 12, dtype=dtype).reshape(3, 4)
    a = act(z)
    d = act.df(z, a)
    assert a.dtype == d.dtype == dtype
    assert a.shape == d.shape == z.shape


@every_activation
def test_out_receives_the_same_bits_and_the_input_is_left_alone(act: Activation) -> None:
    z = np.linspace(-2, 2, 12).reshape(3, 4)
    before = z.copy()
    for f, args in ((act.f, (z,)), (act.df, (z, act(z)))):
        out = np.full_like(z, np.nan)
        assert f(*args, out=out) is out
        np.testing.assert_array_equal(out, f(*args))
    np.testing.assert_array_equal(z, before)
    assert not np.shares_memory(act(z), z)


@every_activation
def test_pickle_returns_an_equal_activation(act: Activation) -> None:
    assert pickle.loads(pickle.dumps(act)) == act


def test_call_accepts_plain_numbers() -> None:
    assert activations.relu(-3) == 0
    np.testing.assert_array_equal(activations.relu([-1, 2]), [0.0, 2.0])


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown activation 'rleu'; did you mean 'relu'\? Known: id"
    ):
        activations.get("rleu")
    with pytest.raises(TypeError, match=r"activation: expected a name .* got int"):
        activations.get(3)


def test_softmax_equals_torch_and_rows_do_not_interact() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 4)) * 3
    z[1] += 200  # a row far away must not touch the others
    z[2] -= 200
    expected = torch.softmax(torch.tensor(z), dim=1).numpy()
    np.testing.assert_allclose(softmax(z), expected, rtol=1e-13)
    np.testing.assert_allclose(softmax(z).sum(axis=1), 1, rtol=1e-15)
    for i in range(len(z)):
        np.testing.assert_array_equal(softmax(z)[i], softmax(z[i : i + 1])[0])


def test_softmax_survives_scores_whose_exponential_does_not_exist() -> None:
    np.testing.assert_array_equal(softmax(np.array([[1e4, 0.0], [-1e4, 0.0]])), [[1, 0], [0, 1]])


@pytest.mark.parametrize("act", activations.ALL.values(), ids=lambda act: act.name)
def test_values_and_derivatives_can_be_written_over_what_they_come_from(act):
    """The oracle is the same call with memory of its own."""
    z = np.linspace(-3, 3, 13)
    a, df = act.f(z), act.df(z, act.f(z))
    own = z.copy()
    assert act.f(own, out=own) is own
    np.testing.assert_array_equal(own, a)
    for place in (0, 1):
        arguments = [z.copy(), a.copy()]
        act.df(*arguments, out=arguments[place])
        np.testing.assert_array_equal(arguments[place], df)


@pytest.mark.parametrize("act", activations.ALL.values(), ids=lambda act: act.name)
def test_a_single_number_is_an_array_without_axes(act):
    for z in (-0.5, 0.5):
        expected = act.f(np.array([z])), act.df(np.array([z]), act.f(np.array([z])))
        assert act(z) == expected[0][0]
        assert act.f(z) == expected[0][0]
        assert act.df(z, act.f(z)) == expected[1][0]


def test_softmax_of_whole_numbers_is_that_of_floats():
    scores = np.array([[1, 2, 5], [0, 0, 0]])
    np.testing.assert_array_equal(activations.softmax(scores), activations.softmax(scores * 1.0))
