"""Recipes with engine = "tfmot": what is refused, what comes out, and what stays in its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgekit import compressing, manifest, recipe_files, registry, tfmot_steps
from edgekit.errors import ConversionError, MissingExtra, RecipeError
from edgekit.recipe_types import ClusterStep, PruneStep

MODEL = Path(str(resources.files("edgekit") / "demo_digits.keras"))
DATA = resources.files("edgekit") / "demo_digits.npz"
PCQAT = """name = "pcqat"
[[step]]
kind = "prune"
sparsity = 0.5
engine = "tfmot"
epochs = 1
[[step]]
kind = "cluster"
clusters = 8
engine = "tfmot"
epochs = 1
[[step]]
kind = "quantize"
mode = "qat"
engine = "tfmot"
epochs = 1
"""

with_tfmot = pytest.mark.skipif(
    bool(registry.missing(registry.ENGINES["tfmot"])), reason="TFMOT is not installed"
)


@pytest.fixture
def recipe(tmp_path):
    """`recipe(step)` → the path of a recipe with this one step."""

    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text if text.startswith("name") else f'name = "one"\n[[step]]\n{text}')
        return str(path)

    return write


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('kind = "prune"\nsparsity = 0.5\nscope = "global"', "scope is global"),
        ('kind = "prune"\nsparsity = "auto"', "sparsity is auto"),
        ('kind = "quantize"', "has no mode ptq"),
        ('kind = "quantize"\nmode = "qat"\nscheme = "tensorrt"', "scheme is tensorrt"),
    ],
    ids=["global", "auto", "ptq", "tensorrt"],
)
def test_what_tfmot_has_no_notion_of_is_refused_from_the_recipe(recipe, keys, said):
    with pytest.raises(RecipeError, match=rf"step\[0\] has engine tfmot.*{said}") as raised:
        recipe_files.load(recipe(f'{keys}\nengine = "tfmot"\n'))
    assert 'leave out engine = "tfmot"' in raised.value.fix


def test_values_shared_by_channel_are_not_left_to_tfmots_quantization(recipe):
    steps = (
        '[[step]]\nkind = "cluster"\nclusters = 16\n{}[[step]]\nkind = "quantize"\nmode = "qat"\n{}'
    )
    tfmot = 'engine = "tfmot"\n'
    with pytest.raises(
        RecipeError, match=r"step\[1\] \(quantize\) has engine tfmot.*step\[0\]"
    ) as raised:
        recipe_files.load(recipe('name = "mixed"\n' + steps.format("", tfmot)))
    assert raised.value.fix.startswith("use one engine for cluster and quantize")
    for engine in ("", tfmot):  # what the fix says
        assert recipe_files.load(recipe('name = "one"\n' + steps.format(engine, engine)))


def test_a_missing_tfmot_is_one_line_before_anything_is_read(recipe, tmp_path, monkeypatch):
    installed = registry.has_module
    monkeypatch.setattr(
        registry,
        "has_module",
        lambda name: name != "tensorflow_model_optimization" and installed(name),
    )
    with pytest.raises(MissingExtra, match="needs tensorflow_model_optimization") as raised:
        compressing.plan(
            tmp_path / "missing.keras", recipe=recipe(PCQAT), data="d.npz", output="m.keras"
        )
    assert raised.value.fix == "pip install 'edgekit[tfmot]'"


def test_what_a_source_came_with_is_held_by_tfmot_too():
    def held(steps, zeros=False, clusters=0, for_int8=False, groups=False):
        came = {"zeros": zeros, "clusters": clusters, "for_int8": for_int8, "groups": groups}
        return tuple(tfmot_steps.held(steps, came).values())  # zeros, clusters, groups

    assert held([]) == (False, None, False)
    assert held([], zeros=True, clusters=8) == (True, 8, False)
    assert held([ClusterStep(4)], zeros=True, clusters=8) == (True, 4, False)
    assert held([PruneStep(0.5)], zeros=True, clusters=8) == (True, None, False)
    assert held([], zeros=True, clusters=8, for_int8=True) == (True, None, False)
    assert held([], zeros=True, groups=True) == (True, None, True)
    assert held([PruneStep(0.5, pattern="2:4"), ClusterStep(4)]) == (True, 4, True)


@with_tfmot
@pytest.mark.parametrize("target", ["host-openvino", "nvidia-t4"])
def test_tfmots_int8_is_refused_for_a_target_with_another(recipe, tmp_path, target):
    with pytest.raises(ConversionError, match=f"LiteRT's int8 alone, and {target}") as raised:
        compressing.plan(
            tmp_path / "missing.keras", recipe=recipe(PCQAT), data="d.npz", target=target,
            output=tmp_path / "m.keras",
        )  # fmt: skip
    assert 'leave out engine = "tfmot"' in raised.value.fix


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    """240 of the demo's training images."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    with np.load(str(DATA)) as stored:
        arrays = {name: stored[name][:240] for name in stored.files}
    np.savez(path, **arrays)
    return str(path)


@with_tfmot
@pytest.mark.slow
def test_pruned_clustered_and_quantized_by_tfmot_and_nothing_of_it_leaks(
    recipe, small_data, tmp_path, monkeypatch, keras_alone
):
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("EDGEKIT_TEST_SEEN", str(tmp_path / "seen"))
    monkeypatch.setattr(compressing, "COMPRESSOR", "tfmot_watched:Watched")
    said, output = [], tmp_path / "m.keras"
    made = compressing.compress(
        MODEL, recipe=recipe(PCQAT), data=small_data, output=output, on_progress=said.append
    )
    assert (tmp_path / "seen").read_text() == "False False False"
    assert "TF_USE_LEGACY_KERAS" not in os.environ
    assert {"tensorflow", "keras", "tf_keras"}.isdisjoint(sys.modules)
    names = [step.name for step in made.steps]
    assert names == [
        "source", "simplify", "prune", "simplify", "cluster", "simplify", "quantize",
    ]  # fmt: skip
    kernels = keras_alone.call("kernels", path=str(output))
    for name, kernel in kernels.items():
        values = np.asarray(kernel)
        assert 0.45 < (values == 0).mean() < 0.6, name
        assert max(np.unique(one).size for one in np.moveaxis(values, -1, 0)) <= 8, name
    quantized = made.steps[-1].detail
    assert quantized["collaboration"] == "PCQAT"
    record = made.quantization
    assert (record.scheme, record.mode, record.precision) == ("litert", "qat", "int8")
    assert set(record.float_layers) == {"rescaling"}
    assert set(record.ranges) <= set(keras_alone.call("names", path=str(output)))
    assert manifest.read(output).planned_precision == "int8"
    alone = keras_alone.call("top1", path=str(output), data=small_data, role="test")
    assert made.accuracy.value == pytest.approx(alone)
    told = " ".join(said)
    assert "TFMOT trains on labels alone" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.keras", "m.keras.edgekit.json", "recipe.toml", "seen",
    ]  # fmt: skip


@with_tfmot
@pytest.mark.slow
def test_ctrl_c_while_tfmot_trains_leaves_nothing_and_no_process(recipe, small_data, tmp_path):
    text = PCQAT.replace("epochs = 1", "epochs = 5000", 1)
    line = ["compress", str(MODEL), "--recipe", recipe(text), "--data", small_data]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *line, "-o", str(tmp_path / "out" / "m.keras")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    said = ""
    for read in process.stderr:
        said += read
        if "epoch 2/" in read:
            break
    workers = _children(process.pid)
    assert len(workers) == 2, said
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, said + rest
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.toml"]


def _children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found
