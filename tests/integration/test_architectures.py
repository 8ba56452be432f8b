"""Every kind of network converts, or the message says which part cannot and what to do."""

import subprocess
import sys

import pytest

import edgekit
from edgekit.errors import ConversionError
from edgekit.workers import Worker

pytestmark = pytest.mark.slow

BUILD = """
import sys, keras
L = keras.layers
keras.utils.set_random_seed(0)

def save(name, inputs, outputs):
    keras.Model(inputs, outputs).save(f"{sys.argv[1]}/{name}.keras")

image = keras.Input((16, 16, 3), name="image")
x = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(image)))
x = L.ReLU(6)(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(x)))
x = L.SeparableConv2D(12, 3)(L.Add()([x, L.Conv2D(8, 1)(x)]))
save("residual", image, L.Dense(5, name="class")(L.GlobalAveragePooling2D()(x)))

signal = keras.Input((40, 6), name="signal")
x = L.MaxPooling1D()(L.Conv1D(8, 5, activation="relu")(signal))
x = L.Flatten()(L.Conv1D(8, 3, activation="relu", dilation_rate=2)(x))
save("conv1d", signal, L.Dense(4, activation="softmax", name="class")(x))

for name, layer in (("lstm", L.LSTM(16)), ("gru", L.GRU(16))):
    steps = keras.Input((12, 6), name="steps")
    save(name, steps, L.Dense(4, name="class")(layer(steps)))

ids = keras.Input((10,), dtype="int32", name="ids")
e = L.Embedding(50, 16)(ids)
x = L.LayerNormalization()(L.Add()([e, L.MultiHeadAttention(2, 8)(e, e)]))
x = L.LayerNormalization()(L.Add()([x, L.Dense(16)(L.Dense(32, activation="gelu")(x))]))
save("transformer", ids, L.Dense(3, name="class")(L.GlobalAveragePooling1D()(x)))

a, b = keras.Input((8,), name="a"), keras.Input((6, 6, 2), name="b")
y = L.Flatten()(L.Conv2D(4, 3, activation="relu")(b))
x = L.Concatenate()([L.Dense(8, activation="relu")(a), y])
save("several", {"a": a, "b": b},
     {"u": L.Dense(3, name="u")(x), "v": L.Dense(2, activation="sigmoid", name="v")(x)})
"""
DATA = """
import numpy as np

SHAPES = {"residual": {"image": (16, 16, 3)}, "conv1d": {"signal": (40, 6)},
          "lstm": {"steps": (12, 6)}, "gru": {"steps": (12, 6)},
          "several": {"a": (8,), "b": (6, 6, 2)}}

def of(shapes):
    def samples(role):
        random = np.random.default_rng(0)
        x = {name: random.standard_normal((32, *shape)).astype("float32")
             for name, shape in shapes.items()}
        return [(x, None)] if role == "calib" else None
    return samples

for name, shapes in SHAPES.items():
    globals()[name] = of(shapes)

def transformer(role):
    random = np.random.default_rng(0)
    return [(random.integers(0, 50, (32, 10)).astype("int32"), None)] if role == "calib" else None
"""
NAMES = ("residual", "conv1d", "lstm", "gru", "transformer", "several")
RECURRENT = ("lstm", "gru")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Keras files, float .tflite made of them by one worker, and calibration samples."""
    place = tmp_path_factory.mktemp("zoo")
    (place / "samples.py").write_text(DATA)
    subprocess.run([sys.executable, "-c", BUILD, str(place)], check=True, capture_output=True)
    with Worker("edgekit.keras_source:Source", "exporting the zoo") as worker:
        for name in NAMES:
            worker.call("open", path=str(place / f"{name}.keras"), trust=False)
            worker.call("export_tflite", path=str(place / f"{name}.tflite"), batch=1)
    return place


def convert(zoo, name, source, output, **options):
    data = f"{zoo / 'samples.py'}:{name}"
    return edgekit.convert(zoo / source, data=data, output=zoo / output, force=True, **options)


@pytest.mark.parametrize("name", NAMES)
def test_dynamic_int8_reaches_every_network(zoo, name):
    written = convert(
        zoo, name, f"{name}.tflite", f"{name}-dynamic.tflite", precision="int8-dynamic"
    )
    assert written.artifact.size_bytes < (zoo / f"{name}.tflite").stat().st_size
    assert written.parity.sqnr_db > 25


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RECURRENT])
def test_static_int8_keeps_names_and_outputs(zoo, name):
    written = convert(zoo, name, f"{name}.tflite", f"{name}-int8.tflite", precision="int8")
    assert written.parity.sqnr_db > 25
    expected = {"several": ["u", "v"]}.get(name, ["class"])
    assert [spec.name for spec in written.outputs] == expected


@pytest.mark.parametrize("name", RECURRENT)
def test_static_int8_of_a_recurrent_network_names_dynamic_int8(zoo, name):
    with pytest.raises(ConversionError, match="int8-dynamic"):
        convert(zoo, name, f"{name}.tflite", f"{name}-int8.tflite", precision="int8")
    assert not (zoo / f"{name}-int8.tflite").exists()


@pytest.mark.parametrize("name", NAMES)
def test_openvino_runs_every_network_at_static_int8(zoo, name):
    written = convert(
        zoo, name, f"{name}.tflite", f"{name}.xml", precision="int8", target="host-openvino"
    )
    assert written.parity.sqnr_db > 25
    assert written.runtime_options["INFERENCE_PRECISION_HINT"] == "f32"


def test_openvino_takes_a_keras_network_through_its_savedmodel(zoo):
    written = convert(
        zoo, "several", "several.keras", "keras.xml", precision="fp32", target="host-openvino"
    )
    assert written.parity.max_rel < 1e-4
    assert [spec.name for spec in written.inputs] == ["a", "b"]
    assert [spec.name for spec in written.outputs] == ["u", "v"]
