"""Ranges of activations, against a fine grid and the functions' own definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.compression import activations

DEFINITIONS = {
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "hard_silu": lambda x: x * min(max(x / 6 + 0.5, 0.0), 1.0),
    "hard_sigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "softsign": lambda x: x / (1 + abs(x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "tanh": math.tanh,
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_range_over_an_interval_is_that_of_a_fine_grid(name):
    draw = np.random.default_rng(0)
    for low, high in np.sort(draw.uniform(-5, 5, (20, 2)), axis=1):
        values = [DEFINITIONS[name](x) for x in np.linspace(low, high, 2001)]
        found = activations.over(activations.named(name), np.array([low]), np.array([high]))
        np.testing.assert_allclose(np.ravel(found), [min(values), max(values)], atol=1e-5)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_ranges_over_everything_are_no_nan(name):
    found = activations.over(activations.named(name), np.array([-np.inf]), np.array([np.inf]))
    assert not np.isnan(found).any()


@pytest.mark.parametrize("value", ["softmax", "glu", "nonsense", {"class_name": "Own"}])
def test_what_does_not_act_on_each_value_alone_is_unknown(value):
    assert activations.named(value) is None
