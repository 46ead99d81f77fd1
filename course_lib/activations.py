"""An activation bends the line: it is applied to each pre-activation z, one number at a time.

Each activation is a pair, value and derivative side by side: ``f(z)`` gives a, ``df(z, a)`` gives
da/dz. The derivative receives both z and a because each is the cheaper start for some of them.
Both take ``out=`` to write into an array that the caller owns.

Chapter: activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_lib import activation_formulas as formulas
from course_lib.arrays import Array
from course_lib.registry import lookup


@dataclass(frozen=True)
class Activation:
    """A differentiable function of one number, applied to every element of an array.

    Parameters
    ----------
    name : str
        The name under which :func:`get` finds it.
    f : callable
        ``f(z, out=None) -> a``, shape in = shape out, dtype in = dtype out.
    df : callable
        ``df(z, a, out=None) -> da/dz``, elementwise, with ``a = f(z)``.

    Examples
    --------
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    >>> square = Activation("square", lambda z, out=None: z * z, lambda z, a, out=None: 2 * z)
    >>> square.df(np.array([3.0]), np.array([9.0]))
    array([6.])
    """

    name: str
    f: Callable[..., Array] = field(repr=False)
    df: Callable[..., Array] = field(repr=False)

    def __call__(self, z: Any) -> Array:
        """Apply ``f`` to numbers or an array of any shape."""
        z = np.asarray(z)
        return self.f(z if z.dtype.kind == "f" else z.astype(np.float64))


identity = Activation("identity", formulas.identity, formulas.identity_df)
r"""The linear activation :math:`f(z) = z`, :math:`f'(z) = 1`.

Examples
--------
>>> identity(np.array([-1.5, 2.0]))
array([-1.5,  2. ])
"""

sigmoid = Activation("sigmoid", formulas.sigmoid, formulas.sigmoid_df)
r"""The logistic function :math:`\sigma(z) = 1 / (1 + e^{-z})`; derivative :math:`a (1 - a)`.

Range (0, 1); computed without overflow for any z.

Examples
--------
>>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
array([0. , 0.5, 1. ])
"""

tanh = Activation("tanh", formulas.tanh, formulas.tanh_df)
r"""The hyperbolic tangent, :math:`\tanh' = 1 - \tanh^2`; range (-1, 1).

Examples
--------
>>> tanh(np.array([0.0]))
array([0.])
"""

relu = Activation("relu", formulas.relu, formulas.relu_df)
r"""The rectifier :math:`\max(z, 0)`; derivative 1 for z > 0 and 0 otherwise (0 at z = 0).

References: Nair & Hinton 2010; Glorot, Bordes & Bengio 2011.

Examples
--------
>>> relu(np.array([-2.0, 0.0, 3.0]))
array([0., 0., 3.])
"""

leaky_relu = Activation("leaky_relu", formulas.leaky_relu, formulas.leaky_relu_df)
r""":math:`z` for z > 0 and :math:`0.01 z` otherwise: no unit is ever dead.

References: Maas, Hannun & Ng 2013.

Examples
--------
>>> leaky_relu(np.array([-2.0, 3.0]))
array([-0.02,  3.  ])
"""

elu = Activation("elu", formulas.elu, formulas.elu_df)
r""":math:`z` for z > 0 and :math:`e^z - 1` otherwise (alpha = 1): smooth at 0.

References: Clevert, Unterthiner & Hochreiter 2016.

Examples
--------
>>> elu(np.array([-1000.0, 2.0]))
array([-1.,  2.])
"""

gelu = Activation("gelu", formulas.gelu, formulas.gelu_df)
r""":math:`z\,\Phi(z)` with the standard normal distribution function, in its exact (erf) form.

References: Hendrycks & Gimpel 2016.

Examples
--------
>>> gelu(np.array([0.0, 1.0])).round(4)
array([0.    , 0.8413])
"""

silu = Activation("silu", formulas.silu, formulas.silu_df)
r""":math:`z\,\sigma(z)`, also called swish.

References: Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph & Le 2017.

Examples
--------
>>> silu(np.array([0.0, 1.0])).round(4)
array([0.    , 0.7311])
"""

softplus = Activation("softplus", formulas.softplus, formulas.softplus_df)
r""":math:`\log(1 + e^z)`, a smooth rectifier whose derivative is the sigmoid.

References: Dugas et al. 2001.

Examples
--------
>>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(4)
array([0.000e+00, 6.931e-01, 1.000e+03])
"""

ALL: dict[str, Activation] = {
    act.name: act for act in (identity, sigmoid, tanh, relu, leaky_relu, elu, gelu, silu, softplus)
}


def get(activation: str | Activation) -> Activation:
    """Return the activation of that name; an :class:`Activation` is returned as it is.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> get("relu") is relu
    True
    """
    if isinstance(activation, Activation):
        return activation
    return lookup("activation", activation, ALL)


def softmax(z: Array, out: Array | None = None) -> Array:
    r"""Turn each row of scores into probabilities.

    .. math:: p_{ij} = \frac{e^{z_{ij}}}{\sum_k e^{z_{ik}}}

    Softmax is not an elementwise activation: its derivative couples the outputs of one row
    (:math:`\partial p_i / \partial z_j = p_i (\delta_{ij} - p_j)`), which is why it is not an
    :class:`Activation` and lives in the loss
    :data:`~course_lib.losses.softmax_cross_entropy`. Each row is shifted by its own maximum:
    the result is the same, and nothing overflows.

    Parameters
    ----------
    z : array, shape (..., classes)
        Scores (logits).
    out : array, same shape, optional
        Where to write the result.

    Returns
    -------
    array, shape (..., classes)
        Non-negative, each row sums to 1.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    out = np.subtract(z, np.max(z, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= np.sum(out, axis=-1, keepdims=True)
    return out
