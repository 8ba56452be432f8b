"""The task loss: the user's own, the model's own from its compile config, or inferred and said.

Labels belong to the model's first output, as everywhere. Only Keras' own losses are built, by
name and from plain values; nothing that a model file stores is executed. Imports Keras.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekit import user_code
from edgekit.compression import labels, output_activations
from edgekit.compression.compile_config import CompileConfig
from edgekit.compression.labels import Form, LabelFacts, Target
from edgekit.compression.output_activations import Kind
from edgekit.compression.training_data import TrainingData
from edgekit.data_checks import shape_text
from edgekit.errors import DataError, one_line
from edgekit.keras_loading import Loaded
from edgekit.metric_rows import IGNORED_LABEL

PROBES = 64
"""Real samples that tell an output's kind where its layers do not."""

_SPARSE = frozenset({"SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy"})
_ROWS = frozenset({"CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge"})
_SHORT = {
    "mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError", "bce": "BinaryCrossentropy", "kld": "KLDivergence",
    "kl_divergence": "KLDivergence", "kullback_leibler_divergence": "KLDivergence",
    "logcosh": "LogCosh", "huber_loss": "Huber",
}  # fmt: skip
_REDUCTIONS = frozenset({"sum"})
"""Kept as stored; all others ("auto", "none", …) become the mean over the batch."""


@dataclass(frozen=True)
class TaskLoss:
    """A loss for the labels (or the input itself) that was checked against them.

    Attributes:
        name: As it is told to the user.
        function: `function(target, outputs)` → scalar tensor; outputs in the model's order.
        target_input: The number of the input that is the target (autoencoders); None: the labels.
        notes: Sentences that say what was chosen and from what.
    """

    name: str
    function: Callable[[Any, list[Any]], Any]
    target_input: int | None = None
    notes: tuple[str, ...] = ()

    def __call__(self, target: Any, outputs: list[Any]) -> Any:
        """The loss of a batch as a scalar tensor."""
        return self.function(target, outputs)


def resolve(
    loaded: Loaded, data: TrainingData, config: CompileConfig | None, user: str | None
) -> TaskLoss:
    """The loss to train with, checked against all labels.

    Args:
        loaded: The model, of Keras layers.
        data: Where the labels come from.
        config: The model's own compile config.
        user: `file.py:function`: `function(y, outputs)` with tensors → scalar or [n, …]; y is
            int32 or float32, or None without labels; outputs is one tensor, or a dict by name.

    Raises:
        DataError: The labels do not fit the output, or nothing tells the loss.
    """
    if user is not None:
        return _of_user(loaded, user)
    facts = None if data.labels is None else labels.look(data.labels)
    output = loaded.outputs[0]
    stored = config.loss_of(output.name, 0, len(loaded.outputs)) if config else None
    others = ""
    if len(loaded.outputs) > 1:
        others = f"of {len(loaded.outputs)} outputs only the first ('{output.name}') has labels"
    made = _of_keras(stored) if stored is not None else None
    if made is not None:
        found = _own(loaded, made, facts)
    else:
        found = _inferred(loaded, data, facts, stored)
    return replace(found, notes=(*found.notes, others)) if others else found


# ------------------------------------------------------------------------------------ user's own


def _of_user(loaded: Loaded, spec: str) -> TaskLoss:
    user = user_code.load(spec)
    names = [output.name for output in loaded.outputs]

    def function(target: Any, outputs: list[Any]) -> Any:
        given = outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True))
        y = None if target is None else tf.cast(target, _plain_type(target.dtype))
        with user_code.guarded(user.path, spec):
            answer = user.function(y, given)
        return _scalar(answer, spec)

    return TaskLoss(spec, function)


def _plain_type(dtype: Any) -> Any:
    return tf.float32 if dtype.is_floating else tf.int32


def _scalar(answer: Any, spec: str) -> Any:
    if not tf.is_tensor(answer) or not answer.dtype.is_floating:
        came = f"a tensor of {answer.dtype.name}" if tf.is_tensor(answer) else type(answer).__name__
        raise DataError(
            f"{spec} returned {came}, and a loss is a float tensor",
            "compute it from y and outputs with keras.ops or tensorflow, and return it",
        )
    return tf.reduce_mean(tf.cast(answer, tf.float32))


# ----------------------------------------------------------------------------------- model's own


def _of_keras(stored: Any) -> Any | None:
    """One of Keras' own losses from its stored name or config, None for anything else."""
    name = stored
    config: Any = {}
    if isinstance(stored, dict):
        name, config = stored.get("class_name"), stored.get("config")
        home = str(stored.get("module") or "builtins").partition(".")[0]
        custom = ">" in str(stored.get("registered_name") or "")
        if custom or home not in {"keras", "tf_keras", "builtins"}:
            return None
        if name == "function":
            name, config = config, {}
    kind = _loss_class(name)
    if kind is None or not isinstance(config, dict):
        return None
    return _construct(kind, config)


def _loss_class(name: Any) -> type[Any] | None:
    if not isinstance(name, str):
        return None
    known = {
        kind.__name__: kind
        for kind in vars(keras.losses).values()
        if inspect.isclass(kind) and issubclass(kind, keras.losses.Loss)
    }
    known.pop("Loss")
    by_function = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", one).lower(): one for one in known}
    return known.get(_SHORT.get(name.lower()) or by_function.get(name, name))


def _construct(kind: type[Any], config: dict[str, Any]) -> Any | None:
    allowed = set(inspect.signature(kind.__init__).parameters)
    kept = {
        key: value
        for key, value in config.items()
        if key in allowed - {"reduction", "dtype", "name"} and isinstance(value, int | float | str)
    }
    reduction = config.get("reduction")
    if reduction not in _REDUCTIONS:
        reduction = "sum_over_batch_size"
    try:
        return kind(reduction=reduction, **kept)
    except (TypeError, ValueError):
        return None


def _own(loaded: Loaded, loss: Any, facts: LabelFacts | None) -> TaskLoss:
    name = type(loss).__name__
    form: Form = "classes" if name in _SPARSE else "rows" if name in _ROWS else "values"
    # What the user's loss ignores is no class.
    ignored = getattr(loss, "ignore_class", None)
    target = labels.fit(loaded, facts, form, ignored)
    said = _full_name(loss)
    note = f"the loss is the model's own: {said}{target.note}"
    return _task(said, loss, target, (note,))


def described(stored: Any) -> str | None:
    """How a stored loss is told; None where it is not one of Keras' own."""
    made = _of_keras(stored)
    return None if made is None else _full_name(made)


def _full_name(loss: Any) -> str:
    return _told(loss) + (" from logits" if getattr(loss, "from_logits", False) else "")


def stored_name(stored: Any) -> str:
    """What a file calls a loss, on one short line: it may be anything."""
    shown = stored.get("class_name") if isinstance(stored, dict) else stored
    shown = stored.get("config") if shown == "function" and isinstance(stored, dict) else shown
    return one_line(str(shown))[:60]


# -------------------------------------------------------------------------------------- inferred


def _inferred(
    loaded: Loaded, data: TrainingData, facts: LabelFacts | None, stored: Any
) -> TaskLoss:
    unusable = ""
    if stored is not None:
        unusable = f"; the model's own loss ({stored_name(stored)}) is not one of Keras"
    kind, why = _kind(loaded, data)
    loss, target, shown_labels = _choose(loaded, facts, kind)
    logits = " from logits" if getattr(loss, "from_logits", False) else ""
    said = _told(loss) + logits
    note = f"the loss is inferred: {said}, since {why} and {shown_labels}{target.note}{unusable}"
    return _task(said, loss, target, (note,))


def _kind(loaded: Loaded, data: TrainingData) -> tuple[Kind, str]:
    found = output_activations.from_layers(loaded.model)
    if found:
        return found
    fixed = loaded.inputs[0].shape[0]
    numbers = np.linspace(0, data.count - 1, fixed or min(PROBES, data.count)).astype(np.int64)
    inputs, _ = data.batch(0, numbers)
    answer = loaded.call([tf.convert_to_tensor(array) for array in inputs])[0]
    return output_activations.from_numbers(np.asarray(answer))


def _choose(loaded: Loaded, facts: LabelFacts | None, kind: Kind) -> tuple[Any, Target, str]:
    """The loss for labels of this form, how they are given to it, and the form in words."""
    form = labels.form_of(loaded, facts)
    if form == "input":
        why = "there are no labels" if facts is None else "the labels are none for each value"
        target = labels.fit(loaded, None, "values")
        said = f"{why}, and the output is shaped like the input"
        return keras.losses.MeanSquaredError(), target, said
    assert facts is not None
    ignored = IGNORED_LABEL if form == "classes" and facts.dense_void else None
    alone = loaded.outputs[0].shape[-1] == 1
    loss, wanted, said = _for_labels(form, facts, kind, alone, ignored)
    return loss, labels.fit(loaded, facts, wanted, ignored), said


def _for_labels(
    form: str, facts: LabelFacts, kind: Kind, alone: bool, ignored: int | None
) -> tuple[Any, Form, str]:
    """Loss, how it takes the labels, and what they are; `alone`: one output for each label."""
    logits = kind == "values"
    if form == "binary" and (alone or kind != "probabilities"):
        loss = keras.losses.BinaryCrossentropy(from_logits=logits)
        return loss, "values", "the labels are 0 and 1"
    if form == "classes" and kind == "independent":
        return keras.losses.BinaryCrossentropy(), "rows", "the labels are class numbers"
    if form == "classes":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits, ignore_class=ignored)
        void = f" ({ignored}: ignored)" if ignored else ""
        return loss, "classes", f"the labels are class numbers{void}"
    if form == "rows" and kind != "independent":
        loss = keras.losses.CategoricalCrossentropy(from_logits=logits)
        return loss, "rows", "each row of the labels sums to 1"
    if kind == "independent" and facts.low >= 0 and facts.high <= 1:
        return keras.losses.BinaryCrossentropy(), "values", "the labels lie between 0 and 1"
    shape = shape_text(("n", *facts.shape))
    said = f"the labels are numbers of the output's shape {shape}"
    return keras.losses.MeanSquaredError(), "values", said


# ---------------------------------------------------------------------------------------- common


def _told(loss: Any) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(loss).__name__).lower()


def _task(name: str, loss: Any, target: Target, notes: tuple[str, ...]) -> TaskLoss:
    def function(given: Any, outputs: list[Any]) -> Any:
        return loss(target.prepare(given, outputs[0]), outputs[0])

    return TaskLoss(name, function, target.input, notes)
