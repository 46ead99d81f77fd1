"""The network's gradient is the derivative of its loss, and its parameters are one flat vector."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from course_lib import activations, losses, weights
from course_lib.chain import Chain
from course_lib.gradcheck import check, numerical_gradient
from course_lib.layers import Elementwise, fresh
from course_lib.network import Activate, Dense, Dropout, Network, mlp


def example(loss: str = "softmax_cross_entropy", k: int = 3, hidden: str = "tanh", rows: int = 7):
    """A 7 x 4 -> 6 -> k network with biases away from zero: nothing square, nothing symmetric."""
    rng = np.random.default_rng(3)
    net = mlp([4, 6, k], hidden=hidden, loss=loss)
    theta = net.init(rng)
    theta += rng.normal(size=theta.shape) * 0.3
    x = rng.normal(size=(rows, 4))
    if net.loss.kind == "values":
        y = rng.normal(size=(rows, k)) * 2
    elif net.loss.kind == "binary":
        y = rng.integers(0, 2, size=(rows, k))
    else:
        y = rng.integers(0, 2 if (k == 1 and net.loss.kind == "margin") else k, size=rows)
    return net, theta, x, y


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(a), np.linalg.norm(b), 1e-12))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("loss", losses.ALL)
@pytest.mark.parametrize("hidden", activations.ALL)
def test_gradient_is_the_derivative_for_every_activation_and_loss(hidden, loss, k) -> None:
    net, theta, x, y = example(loss, k, hidden)
    _, gradient = net.loss_and_grad(theta, x, y)
    numerical = numerical_gradient(lambda t: net.loss_value(t, x, y), theta)
    # In float64 with h = 1e-5 the differences themselves err by 1e-9 to 1e-10.
    assert relative_error(gradient, numerical) < 1e-7


@pytest.mark.parametrize("hidden", activations.ALL)
def test_backward_takes_any_upstream_gradient(hidden: str) -> None:
    net, theta, x, _ = example(hidden=hidden)
    outputs, caches = net.forward(theta, x)
    upstream = np.random.default_rng(5).normal(size=outputs.shape)
    dx, dtheta = net.backward(theta, caches, upstream)
    by_theta = numerical_gradient(lambda t: float(np.vdot(net.forward(t, x)[0], upstream)), theta)
    by_x = numerical_gradient(
        lambda v: float(np.vdot(net.forward(theta, v.reshape(x.shape))[0], upstream)), x.reshape(-1)
    )
    assert relative_error(dtheta, by_theta) < 1e-7
    assert relative_error(dx.reshape(-1), by_x) < 1e-7


def test_gradient_through_dropout_with_a_fixed_mask() -> None:
    net = mlp([4, 6, 5, 3], hidden="tanh", dropout=0.4)
    _, _, x, y = example()
    theta = net.init(np.random.default_rng(0))

    def loss(t: np.ndarray) -> float:
        return net.loss_and_grad(t, x, y, rng=np.random.default_rng(9))[0]

    _, gradient = net.loss_and_grad(theta, x, y, rng=np.random.default_rng(9))
    assert relative_error(gradient, numerical_gradient(loss, theta)) < 1e-7


def test_first_layer_may_have_no_parameters() -> None:
    # The backward pass stops at the first layer with parameters, wherever that is.
    net = Network((Activate(activations.tanh), Dense(4, 3)), losses.softmax_cross_entropy)
    _, _, x, y = example()
    theta = net.init(np.random.default_rng(0))
    assert max(check(net, theta, x, y).values()) < 1e-7


def test_the_loss_is_a_mean_and_pieces_of_a_batch_add_up() -> None:
    net, theta, x, y = example()
    loss, gradient = net.loss_and_grad(theta, x, y)
    assert loss == pytest.approx(net.loss.f(net.forward(theta, x)[0], y)[0] / 7, rel=1e-15)
    pieces = [
        net.loss_and_grad(theta, x[part], y[part], denominator=7)
        for part in (slice(0, 2), slice(2, 2), slice(2, 7))  # unequal, and one empty
    ]
    assert sum(p[0] for p in pieces) == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(sum(p[1] for p in pieces), gradient, rtol=0, atol=1e-15)
    assert not pieces[1][1].any()


def test_repeating_every_row_changes_nothing() -> None:
    net, theta, x, y = example()
    _, once = net.loss_and_grad(theta, x, y)
    _, twice = net.loss_and_grad(theta, np.tile(x, (2, 1)), np.tile(y, 2))
    np.testing.assert_allclose(once, twice, rtol=0, atol=1e-15)


def test_theta_is_laid_out_layer_by_layer_and_unpack_gives_views() -> None:
    net, theta, _, _ = example()
    first, _, last = net.unpack(theta)
    assert net.n_params == theta.size == 4 * 6 + 6 + 6 * 3 + 3
    np.testing.assert_array_equal(first["W"].reshape(-1), theta[:24])
    np.testing.assert_array_equal(first["b"], theta[24:30])
    np.testing.assert_array_equal(last["b"], theta[-3:])
    assert all(np.shares_memory(a, theta) for a in (*first.values(), *last.values()))
    np.testing.assert_array_equal(net.pack(net.unpack(theta)), theta)


def test_split_networks_run_one_after_the_other_are_the_network() -> None:
    net, theta, x, _ = example()
    front, back = net.split([2])
    middle, _ = front.forward(theta[: front.n_params], x)
    outputs, _ = back.forward(theta[front.n_params :], middle)
    np.testing.assert_array_equal(outputs, net.forward(theta, x)[0])
    with pytest.raises(ValueError, match=r"bounds must increase within 1\.\.2, got \[2, 2\]"):
        net.split([2, 2])
    with pytest.raises(ValueError, match="got \\[0\\]"):
        net.split([0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_workspace_changes_no_bit_and_allocates_no_result(dtype: type, dropout: float) -> None:
    net = mlp([4, 6, 3], dropout=dropout)
    _, _, x, y = example()
    theta, x = net.init(np.random.default_rng(0), dtype), x.astype(dtype)
    workspace, out = net.workspace(7, dtype), np.empty(net.n_params, dtype)
    for rows in (7, 3, 7, 1):  # shorter batches use the front of the same arrays
        xb, yb = x[:rows], y[:rows]
        plain = net.loss_and_grad(theta, xb, yb, rng=np.random.default_rng(1))
        fast = net.loss_and_grad(
            theta, xb, yb, rng=np.random.default_rng(1), workspace=workspace, out=out
        )
        assert fast[1] is out
        assert out.dtype == dtype
        assert plain[0] == fast[0]
        np.testing.assert_array_equal(plain[1], out)


@dataclass(frozen=True)
class _Greedy(Elementwise):
    """x + x^2 + x^3 in so many arrays of its own; keeps all of them for the way back."""

    arrays: int

    def forward(self, p, x, *, rng=None, empty=fresh):
        own = [np.power(x, 1 + i % 3, out=empty(x.shape, x.dtype)) for i in range(self.arrays)]
        return sum(own[:3]), (x, own)

    def backward(self, p, cache, dy, *, empty=fresh):
        x, own = cache
        back = [np.multiply(dy, i * x ** (i - 1), out=empty(dy.shape, dy.dtype)) for i in (1, 2, 3)]
        assert all(np.array_equal(a, x ** (1 + i % 3)) for i, a in enumerate(own))
        return back[0] + back[1] + back[2]


@pytest.mark.parametrize("arrays", [3, 4, 9])
def test_a_layer_has_as_many_scratch_arrays_as_it_asks_for_and_the_same_in_each_step(arrays):
    net = Network((Dense(4, 6), _Greedy(arrays), Dense(6, 3), _Greedy(3)), losses.mse)
    _, theta, x, _ = example()
    theta, y = net.init(np.random.default_rng(0)) / 3, np.ones((7, 3))
    assert max(check(net, theta, x, y).values()) < 1e-6
    workspace, asked = net.workspace(7), []
    rows = workspace.rows
    for scratch in (*workspace._forward, *workspace._backward):
        scratch._rows = lambda *args: asked.append(rows(*args)) or asked[-1]
    for n in (7, 3, 7):
        plain = net.loss_and_grad(theta, x[:n], y[:n])
        fast = net.loss_and_grad(theta, x[:n], y[:n], workspace=workspace)
        assert plain[0] == fast[0]
        np.testing.assert_array_equal(plain[1], fast[1])
    places = [array.__array_interface__["data"][0] for array in asked]
    each = len(places) // 3
    assert len(set(places[:each])) == each == 2 + (arrays + 3) + (3 + 1 + 3)  # there and back
    assert places == places[:each] * 3


def test_a_workspace_remembers_arrays_not_values() -> None:
    net, theta, x, y = example()
    workspace = net.workspace(7)
    net.loss_and_grad(theta, x, y, workspace=workspace)
    theta *= 1.5  # in place, as an optimizer does
    np.testing.assert_array_equal(
        net.loss_and_grad(theta, x, y, workspace=workspace)[1], net.loss_and_grad(theta, x, y)[1]
    )
    for scale in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):  # new arrays, as a pure optimizer makes
        new = theta * scale
        np.testing.assert_array_equal(
            net.loss_and_grad(new, x, y, workspace=workspace)[1],
            net.loss_and_grad(new, x, y)[1],
        )


def test_a_workspace_refuses_what_it_was_not_made_for() -> None:
    net, theta, x, y = example()
    with pytest.raises(ValueError, match="made for at most 5 rows of float64, got 7 rows"):
        net.loss_and_grad(theta, x, y, workspace=net.workspace(5))
    with pytest.raises(ValueError, match="rows of float32, got 7 rows of float64"):
        net.loss_and_grad(theta, x, y, workspace=net.workspace(7, np.float32))
    with pytest.raises(ValueError, match="y must have as many rows as x, which has 7, got shape"):
        net.loss_and_grad(theta, x, y[:3], workspace=net.workspace(7))
    with pytest.raises(ValueError, match="must have 4 columns"):
        net.loss_and_grad(theta, x[:, :3], y, workspace=net.workspace(7))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_is_computed_in_the_dtype_of_theta(dtype: type) -> None:
    net, theta, x, y = example()
    theta = theta.astype(dtype)
    assert net.loss_and_grad(theta, x, y)[1].dtype == dtype
    assert net.forward(theta, x)[0].dtype == dtype
    assert net.predict_proba(theta, x).dtype == dtype


def test_the_arguments_are_left_alone() -> None:
    net, theta, x, y = example()
    before = theta.copy(), x.copy(), y.copy()
    net.loss_and_grad(theta, x, y)
    for now, then in zip((theta, x, y), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_equal_seeds_give_equal_theta_and_equal_layers_differ() -> None:
    net = mlp([5, 5, 5])
    theta = net.init(np.random.default_rng(1))
    np.testing.assert_array_equal(theta, net.init(np.random.default_rng(1)))
    first, _, second = net.unpack(theta)
    assert not np.allclose(first["W"], second["W"])
    assert not first["b"].any()


def test_dropout_keeps_the_mean_and_is_off_without_noise() -> None:
    layer, x = Dropout(0.25), np.ones((400, 300))
    y, mask = layer.forward({}, x, rng=np.random.default_rng(0))
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    # 120 000 draws: the standard error of the mean is 0.0017.
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(layer.backward({}, mask, x), y)
    assert layer.forward({}, x)[0] is x
    assert layer.backward({}, None, x) is x


def test_predict_answers_in_the_terms_of_the_loss() -> None:
    net, theta, x, _ = example()
    outputs, _ = net.forward(theta, x)
    np.testing.assert_array_equal(net.predict(theta, x), outputs.argmax(axis=1))
    np.testing.assert_allclose(net.predict_proba(theta, x).sum(axis=1), 1, rtol=1e-15)
    net, theta, x, _ = example("mse")
    np.testing.assert_array_equal(net.predict(theta, x), net.forward(theta, x)[0])
    with pytest.raises(ValueError, match="mse does not define probabilities"):
        net.predict_proba(theta, x)


def test_networks_are_values() -> None:
    net = mlp([4, 6, 3], hidden="gelu", dropout=0.1)
    assert net == mlp([4, 6, 3], hidden=activations.gelu, dropout=0.1)
    assert pickle.loads(pickle.dumps(net)) == net
    assert repr(mlp([4, 2])) == (
        "Network(layers=(Dense(fan_in=4, fan_out=2, weights=he_normal),), "
        "loss=Loss(name='softmax_cross_entropy', kind='labels'))"
    )


def test_names_and_objects_choose_the_same() -> None:
    by_name = mlp([4, 3, 2], "tanh", "hinge", "glorot_uniform")
    assert by_name == mlp([4, 3, 2], activations.tanh, losses.hinge, weights.glorot_uniform)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda n, t, x, y: n.loss_and_grad(t, x[:, :3], y),
            ValueError,
            r"4 columns .*got shape \(7, 3\)",
        ),
        (
            lambda n, t, x, y: n.loss_and_grad(t, x[0], y),
            ValueError,
            r"2-D .* got shape \(4,\); reshape",
        ),
        (
            lambda n, t, x, y: n.loss_and_grad(t, x[None], y),
            ValueError,
            r"2-D .* got shape \(1, 7, 4\)\.",
        ),
        (
            lambda n, t, x, y: n.loss_and_grad(t, x, y[:5]),
            ValueError,
            r"which has 7, got shape \(5,\)",
        ),
        (lambda n, t, x, y: n.loss_and_grad(t, x, y + 1), ValueError, r"labels must lie in 0\.\.2"),
        (lambda n, t, x, y: n.loss_and_grad(t, x, y * 1.0), TypeError, "labels must be integers"),
        (
            lambda n, t, x, y: n.loss_and_grad(t, x * np.nan, y),
            ValueError,
            "must be finite, got nan at row 0",
        ),
        (
            lambda n, t, x, y: n.loss_and_grad(t, x / 0.0, y),
            ValueError,
            "must be finite, got -?inf",
        ),
        (lambda n, t, x, y: n.loss_and_grad(t, x[:0], y[:0]), ValueError, "at least one row"),
        (
            lambda n, t, x, y: n.loss_and_grad(t[1:], x, y),
            ValueError,
            r"shape \(51,\), got \(50,\); make one",
        ),
        (
            lambda n, t, x, y: n.loss_and_grad(t, x, y, denominator=0),
            ValueError,
            "denominator must be",
        ),
        (
            lambda n, t, x, y: n.loss_value(t, x[:, :2], y),
            ValueError,
            "loss_value: x must have 4 columns",
        ),
        (
            lambda n, t, x, y: n.forward(t, x[:, :2]),
            ValueError,
            "Network.forward: x must have 4 columns",
        ),
        (lambda n, t, x, y: n.predict(t, x * np.inf), ValueError, "must be finite"),
        (
            lambda n, t, x, y: n.predict(t, [["a"] * 4]),
            TypeError,
            r"x must hold real numbers, got \[\['a', 'a', 'a', 'a'\]\]",
        ),
        (lambda n, t, x, y: n.init(0), TypeError, r"pass np\.random\.default_rng\(seed\)"),
        (
            lambda n, t, x, y: n.workspace(0),
            ValueError,
            "batch_size must be an integer of at least 1",
        ),
        (lambda n, t, x, y: mlp([4]), ValueError, r"at least inputs and outputs, got \[4\]"),
        (
            lambda n, t, x, y: mlp([4, 0, 2]),
            ValueError,
            r"mlp: sizes\[1\] must be an integer of at least 1, got 0",
        ),
        (
            lambda n, t, x, y: mlp([4, 2.0]),
            TypeError,
            r"mlp: sizes\[1\] must be an integer of at least 1, got 2.0",
        ),
        (lambda n, t, x, y: mlp([4, 2], "rleu"), ValueError, "unknown activation 'rleu'"),
        (lambda n, t, x, y: mlp([4, 2], loss="mss"), ValueError, "unknown loss 'mss'"),
        (lambda n, t, x, y: mlp([4, 2], weights="he"), ValueError, "unknown .* 'he'"),
        (
            lambda n, t, x, y: mlp([4, 2], dropout=1.0),
            ValueError,
            "mlp: dropout must be a finite number >= 0 and < 1, got 1.0",
        ),
        (
            lambda n, t, x, y: Network((Dense(2, 3), Dense(4, 1)), losses.mse),
            ValueError,
            "layer 1 takes 4 inputs, but the layers before it give 3",
        ),
        (
            lambda n, t, x, y: Network((), losses.mse),
            ValueError,
            "layers must hold at least one layer",
        ),
    ],
)
@np.errstate(divide="ignore", invalid="ignore")
def test_bad_input_gets_a_sentence(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call(*example())


@dataclass(frozen=True)
class _Told(Elementwise):
    """A layer of somebody else's that tells its widths, or only how it changes one."""

    fan_in: int | None = None
    fan_out: int | None = None
    factor: int = 1

    def width(self, fan_in):
        return self.fan_out or self.factor * fan_in


def test_layers_that_are_not_dense_are_checked_where_they_tell_their_widths():
    Network((Dense(2, 3), _Told(3, 4), Dense(4, 1)), losses.mse)
    Network((Dense(2, 3), _Told(factor=2), Dense(6, 1)), losses.mse)
    Network((_Told(factor=2), Dense(6, 1)), losses.mse)
    assert Network((_Told(5), Dense(5, 1)), losses.mse).n_inputs == 5
    assert Network((Activate(activations.relu), Dense(5, 1)), losses.mse).n_inputs == 5
    for layers, takes, gives in (
        ((Dense(2, 3), _Told(4, 4)), 4, 3),
        ((Dense(2, 3), _Told(3, 5), Dense(4, 1)), 4, 5),
        ((Dense(2, 3), _Told(factor=2), Dense(3, 1)), 3, 6),
        ((_Told(2, 3), activate := Activate(activations.relu), activate, Dense(4, 1)), 4, 3),
    ):
        with pytest.raises(
            ValueError, match=f"takes {takes} inputs, but .* before it give {gives}"
        ):
            Network(layers, losses.mse)


class _Padded:
    """A layer of somebody else's, written to the protocol and nothing more: four zeros behind x."""

    def __init__(self, fan_in=None):
        self.fan_in = fan_in

    def width(self, fan_in):
        return fan_in + 4

    def shapes(self):
        return {}

    def init(self, rng):
        return {}

    def forward(self, p, x, *, rng=None, empty=np.empty):
        return np.pad(x, ((0, 0), (0, 4))), None

    def gradient(self, cache, dy, out):
        pass

    def backward(self, p, cache, dy, *, empty=np.empty):
        return dy[:, :-4]


@pytest.mark.parametrize("fan_in", [8, None])
def test_a_layer_of_ones_own_may_change_the_width_in_front_of_a_dense_layer(fan_in):
    net = Network((_Padded(fan_in), Dense(12, 3)), losses.mse)
    assert (net.n_inputs, net.widths(8)) == (fan_in, [12, 3])
    rng = np.random.default_rng(0)
    theta, x, y = net.init(rng), rng.normal(size=(5, 8)), rng.normal(size=(5, 3))
    alone = Network((Dense(12, 3),), losses.mse)
    loss, gradient = net.loss_and_grad(theta, x, y)
    padded = np.concatenate([x, np.zeros((5, 4))], axis=1)
    expected_loss, expected = alone.loss_and_grad(theta, padded, y)
    assert loss == expected_loss and np.array_equal(gradient, expected)
    assert np.array_equal(net.predict(theta, x), alone.predict(theta, padded))
    message = "x must have 8 columns" if fan_in else "layer 1 takes 12 inputs, but .* give 13"
    with pytest.raises(ValueError, match=message):
        net.predict(theta, np.ones((5, 9)))


def test_a_layer_that_says_nothing_of_its_inputs_takes_any_number():
    class Silent(_Padded):
        fan_in = property()  # as if there were none: reading it is an AttributeError

        def __init__(self):
            pass

    net = Network((Dense(2, 3), Silent(), Dense(7, 1)), losses.mse)
    assert (net.n_inputs, net.widths(2)) == (2, [3, 7, 1])


@pytest.mark.parametrize(
    "theta", [np.arange(17), [0.0] * 17, np.zeros(17, bool), np.zeros(17, complex)]
)
def test_a_theta_that_is_no_array_of_floats_is_refused_at_every_door(theta):
    """Everything is computed in its dtype: whole numbers would cut the inputs to whole numbers."""
    net, x, y = mlp([2, 3, 2]), np.array([[0.6, -0.4]]), np.array([1])
    doors = [
        lambda: net.forward(theta, x),
        lambda: net.predict(theta, x),
        lambda: net.loss_and_grad(theta, x, y),
        lambda: net.loss_value(theta, x, y),
    ]
    for door in doors:
        with pytest.raises(
            TypeError, match="theta must be an array of floating-point numbers, got"
        ):
            door()


def test_a_gradient_is_written_only_where_it_fits() -> None:
    net, theta, x, y = example()
    workspace = net.workspace(len(x))
    for wrong in (np.empty(net.n_params, np.float32), np.empty(net.n_params + 1)):
        for given in (None, workspace):
            with pytest.raises(ValueError, match=r"loss_and_grad: out must be like theta, float64"):
                net.loss_and_grad(theta, x, y, out=wrong, workspace=given)
    with pytest.raises(TypeError, match="workspace must be a Workspace, got 5; make one with"):
        net.loss_and_grad(theta, x, y, workspace=5)


def test_the_first_layer_with_parameters_is_where_the_backward_pass_may_end() -> None:
    hidden = mlp([2, 3, 2], hidden="tanh").layers  # Dense, Activate, Dense
    assert Chain(hidden).first_with_parameters == 0
    assert Chain((hidden[1], *hidden)).first_with_parameters == 1
    assert Chain((hidden[1], hidden[1])).first_with_parameters == 0  # there is none
