"""Keras configs that execute code or name what is not Keras'; harmless ones pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit import loading, model_safety
from edgekit.errors import ModelError

PATH = Path("m.keras")


def layer(kind, module="keras.layers", name="it", registered=None, **config):
    return {
        "module": module,
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": registered,
    }


def model(*layers):
    return {
        "module": "keras",
        "class_name": "Functional",
        "config": {"name": "m", "layers": list(layers)},
        "registered_name": "Functional",
    }


# fmt: off
HAZARDS = {
    "lambda": (layer("Lambda"), "executes code stored in the file"),
    "lambda of a registered name": (layer("X", registered="pkg>Lambda"), "executes code"),
    "lambda in a nested model": (model(layer("Dense"), layer("Lambda")), "executes code"),
    "lambda in a wrapper": (
        layer("TimeDistributed", layer=layer("Lambda", name="inner")),
        r"layer 'inner' \(Lambda\)",
    ),
    "lambda under an activation": (
        layer("Dense", activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}),
        "executes code",
    ),
    "lambda of an old h5": ({"class_name": "Lambda", "config": {"name": "it"}}, "executes code"),
    "foreign SavedModel": (layer("TFSMLayer", filepath="other"), "loads another SavedModel"),
    "torch module": (layer("TorchModuleWrapper"), "unpickles"),
    "jax function": (layer("JaxLayer"), "JAX"),
    "vocabulary file": (layer("StringLookup", vocabulary="/etc/passwd"), "/etc/passwd"),
    "custom class": (layer("Mine", module="my_package.layers"), "not a part of Keras"),
    "registered class": (layer("Mine", module=None, registered="pkg>Mine"), "not a part of Keras"),
    "old registered class": ({"class_name": "Addons>Norm", "config": {}}, "not a part of Keras"),
    "module of the system": (layer("system", module="os"), "not a part of Keras"),
    "download": (
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        "not a part of Keras",
    ),
    "safety switch": (
        {"module": "keras.config", "class_name": "function",
         "config": "enable_unsafe_deserialization"},
        "not a part of Keras",
    ),
    "python's exec": (
        layer("Dense", activation={"module": "builtins", "class_name": "function",
                                   "config": "exec"}),
        "not a part of Keras",
    ),
    "attribute of a module": (
        layer("Dense", activation={"module": "keras.activations", "class_name": "function",
                                   "config": "os.system"}),
        "not a part of Keras",
    ),
    "file operation": (layer("TFOpLambda", function="io.write_file"), "io.write_file"),
    "file operation of old": (
        layer("TFOpLambda", function="compat.v1.io.write_file"), "reaches beyond tensors"
    ),
    "raw operation": (layer("TFOpLambda", function="raw_ops.PyFunc"), "reaches beyond tensors"),
    "inner compile_config": (
        model({**model(), "compile_config": {"loss": layer("L", module="evil")}}),
        "not a part of Keras",
    ),
}
# fmt: on


@pytest.mark.parametrize("name", HAZARDS)
def test_a_hazard_is_refused_and_passes_only_with_trust(name):
    config, message = HAZARDS[name]
    with pytest.raises(ModelError, match=message) as caught:
        model_safety.check_config(model(config), PATH, trust=False)
    assert caught.value.fix
    model_safety.check_config(model(config), PATH, trust=True)


HARMLESS = {
    "layers": layer("Conv2D", activation="relu"),
    "inner module": layer("Functional", module="keras.src.models.functional"),
    "tf_keras": layer("Dense", module="tf_keras.layers"),
    "operation": layer("Add", module="keras.src.ops.numpy"),
    "initializer": layer("Dense", kernel_initializer=layer("HeNormal", "keras.initializers")),
    "built-in function": layer(
        "Dense", activation={"module": "builtins", "class_name": "function", "config": "relu"}
    ),
    "dtype policy": layer("Dense", dtype=layer("DTypePolicy", "keras")),
    "vocabulary inside": layer("StringLookup", vocabulary=["a", "b"]),
    "arithmetic": layer("TFOpLambda", function="math.add"),
    "old h5": {"class_name": "Dense", "config": {"name": "d", "units": 3}},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_keras_writes_itself_passes(name):
    model_safety.check_config(model(HARMLESS[name]), PATH, trust=False)


def test_a_custom_loss_of_training_is_not_looked_at():
    config = {**model(layer("Dense")), "compile_config": {"loss": layer("Mine", module="my.own")}}
    model_safety.check_config(config, PATH, trust=False)


def test_a_deep_config_does_not_exhaust_the_stack():
    config: object = layer("Lambda")
    for _ in range(50_000):
        config = [config]
    assert next(model_safety.hazards(config)).problem.startswith("layer 'it'")


@pytest.mark.parametrize("generation", ["keras3", "keras2"])
def test_every_model_of_the_zoo_passes(models, generation):
    for path in sorted((models / generation).glob("*.keras")):
        config = json.loads(loading.keras_config(path).text)
        assert list(model_safety.hazards(config)) == []
