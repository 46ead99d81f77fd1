"""A trained network in one file: what it is made of, and its parameters, to be used somewhere else.

A checkpoint is for going on with a training; this is what is left when it is over. The file is one
of safetensors: reading it never runs code.

Chapter: none; `course-lib train --save` and `course-lib predict` use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from course_lib import activations, losses, weights
from course_lib.arrays import Array, check_instance, check_theta
from course_lib.atomic import write_bytes
from course_lib.checkpoint import StrPath
from course_lib.layers import Activate, Dense, Dropout, Layer
from course_lib.network import Network
from course_lib.paths import check_path
from course_lib.registry import lookup

FORMAT = "course_lib model"
"""What such a file says that it is."""

VERSION = 1
"""The version of the format; one that reads differently gets the next number."""

_KINDS: dict[str, Callable[[dict[str, Any]], Layer]] = {
    "Dense": lambda d: Dense(d["fan_in"], d["fan_out"], weights.get(d["weights"])),
    "Activate": lambda d: Activate(activations.get(d["activation"])),
    "Dropout": lambda d: Dropout(d["rate"]),
}


def save_model(path: StrPath, net: Network, theta: Array) -> None:
    """Write a network and its parameters to one file, whole or not at all.

    Parameters
    ----------
    path : path
        The file, such as ``digits.safetensors``; one that is there is replaced.
    net : Network
        Of :class:`Dense`, :class:`Activate` and :class:`Dropout`, with activations, initialisers
        and a loss of this package.
    theta : array, shape (n_params,)
        Its parameters, finite.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the network has a part that only the program
        that made it knows.
    OSError
        If the file cannot be written; one that was there is as it was.

    Examples
    --------
    >>> import tempfile
    >>> from course_lib import mlp
    >>> net = mlp([2, 3, 2], hidden="tanh", dropout=0.1)
    >>> theta = net.init(np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(f"{folder}/xor.safetensors", net, theta)
    ...     same, numbers = load_model(f"{folder}/xor.safetensors")
    >>> same == net, np.array_equal(numbers, theta)
    (True, True)
    """
    file = check_path(path, where="save_model", name="path")
    check_instance(net, Network, where="save_model", name="net", hint="such as mlp([2, 3, 1])")
    check_theta(theta, where="save_model", finite=True)
    net.unpack(theta)  # raises if its length is wrong
    facts = {
        "format": FORMAT,
        "version": str(VERSION),
        "layers": json.dumps([_described(layer) for layer in net.layers]),
        "loss": _name(net.loss, losses.ALL, "loss"),
    }
    write_bytes(file, safetensors.save({"theta": np.ascontiguousarray(theta)}, facts))


def load_model(path: StrPath) -> tuple[Network, Array]:
    """Read what :func:`save_model` wrote.

    Returns
    -------
    net : Network
    theta : array, shape (n_params,)

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a whole file of a model, or of a later version.
    """
    file = check_path(path, where="load_model", name="path")
    with file.open("rb"):  # an ordinary error where there is no such file, or a folder
        pass
    try:
        with safe_open(file, framework="numpy") as opened:
            facts, theta = opened.metadata() or {}, opened.get_tensor("theta")
    except SafetensorError as error:
        raise _wrong(path, str(error)) from error
    if facts.get("format") != FORMAT:
        raise _wrong(path, "it does not say that it is one")
    if facts.get("version") != str(VERSION):
        raise _wrong(path, f"it is of version {facts.get('version')}, and this reads {VERSION}")
    try:
        layers = tuple(
            lookup("layer", told["kind"], _KINDS)(told) for told in json.loads(facts["layers"])
        )
        net = Network(layers, losses.get(facts["loss"]))
        check_theta(theta, where="load_model", finite=True)
        net.unpack(theta)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _wrong(path, str(error)) from error
    return net, theta


def _described(layer: Layer) -> dict[str, Any]:
    # One that derives from these may compute something else.
    if type(layer) is Dense:
        name = _name(layer.weights, weights.ALL, "initialiser")
        return {"kind": "Dense", "fan_in": layer.fan_in, "fan_out": layer.fan_out, "weights": name}
    if type(layer) is Activate:
        name = _name(layer.activation, activations.ALL, "activation")
        return {"kind": "Activate", "activation": name}
    if type(layer) is Dropout:
        return {"kind": "Dropout", "rate": layer.rate}
    raise TypeError(
        f"save_model: the layer {type(layer).__name__} is not one of this package, and a file "
        "holds no code; save theta alone, with course_lib.checkpoint.save."
    )


def _name(thing: Any, table: Any, what: str) -> str:
    """Return by which name a thing is found in a table of this package."""
    for name, known in table.items():
        if known == thing:
            return str(name)
    raise TypeError(
        f"save_model: the {what} {getattr(thing, 'name', thing)} is not one of this package, and a "
        "file holds no code; save theta alone, with course_lib.checkpoint.save."
    )


def _wrong(path: StrPath, why: str) -> ValueError:
    return ValueError(
        f"load_model: {path} is not a whole file of a model ({why}); save_model and course-lib "
        "train --save write one."
    )
