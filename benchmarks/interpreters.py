"""Bare loops over the runtimes, written without edgekit: what its figures are compared with."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np


def litert_predict(model: Path, samples: np.ndarray) -> np.ndarray:
    """Outputs [n, …] in float units of a single-input .tflite, sample by sample."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for sample in samples:
        value = sample[None]
        scale, zero_point = entry["quantization"]
        if scale:
            limits = np.iinfo(entry["dtype"])
            value = np.clip(np.rint(value / scale) + zero_point, limits.min, limits.max)
        interpreter.set_tensor(entry["index"], value.astype(entry["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(result["index"])[0].astype(np.float32)
        scale, zero_point = result["quantization"]
        found.append((output - zero_point) * scale if scale else output)
    return np.stack(found)


def openvino_predict(model: Path, samples: np.ndarray) -> np.ndarray:
    """Outputs [n, …] of a single-input IR on the CPU, in float32, one thread, sample by sample."""
    import openvino

    compiled = openvino.Core().compile_model(
        str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    )
    request = compiled.create_infer_request()
    return np.stack([np.array(next(iter(request.infer([s[None]]).values()))[0]) for s in samples])


def litert_median_s(model: Path, seconds: float) -> float:
    """Median wall time of invoke() in a plain loop, random input, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for entry in interpreter.get_input_details():
        value = random.uniform(0, 1, entry["shape"]) * (100 if entry["quantization"][0] else 1)
        interpreter.set_tensor(entry["index"], value.astype(entry["dtype"]))
    return _median_of_loop(interpreter.invoke, seconds)


def _median_of_loop(invoke: object, seconds: float) -> float:
    assert callable(invoke)
    for _ in range(20):
        invoke()
    clock = time.perf_counter_ns
    taken = []
    end = clock() + int(seconds * 1e9)
    start = clock()
    while start < end:
        start = clock()
        invoke()
        taken.append(clock() - start)
    return float(np.median(taken)) * 1e-9


if __name__ == "__main__":
    import sys

    warnings.simplefilter("ignore")
    print(litert_median_s(Path(sys.argv[1]), float(sys.argv[2])))
