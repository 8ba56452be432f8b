"""What `benchmark_model` prints, as people have posted it, and what is read from it."""

from __future__ import annotations

import pytest

from edgekit.errors import DeviceError
from edgekit.targets import benchmark_model

CPU_2021 = """\
STARTING!
Log parameter values verbosely: [0]
Num threads: [4]
Graph: [model.tflite]
#threads used for CPU inference: [4]
Loaded model model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
The input model file size (MB): 3.67827
Initialized session in 18.777ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds
count=9 first=64791 curr=56295 min=54873 max=65831 avg=57758.2 std=4065

Running benchmark for at least 50 iterations and at least 1 seconds
count=50 first=58154 curr=53809 min=53077 max=60727 avg=55043.2 std=1562

Inference timings in us: Init: 18777, First inference: 64791, Warmup (avg): 57758.2, \
Inference (avg): 55043.2
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE
Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227
"""
CPU_2025 = """\
INFO: STARTING!
INFO: Graph: [model.tflite]
VERBOSE: Replacing 29 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 \
partitions for subgraph 0.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
count=162 first=3301 curr=3034 min=2953 max=3523 avg=3084 std=74 p5=2990 median=3074 p95=3221

count=332 first=3052 curr=2991 min=2902 max=3401 avg=3009.5 std=58 p5=2934 median=3001 p95=3105

INFO: Inference timings in us: Init: 5931, First inference: 3301, Warmup (avg): 3084, \
Inference (avg): 3009.5
INFO: Memory footprint delta from the start of the tool (MB): init=7.5 overall=9
"""
GPU = """\
Use gpu: [1]
INFO: Created TensorFlow Lite delegate for GPU.
INFO: Initialized OpenCL-based API.
INFO: Created 1 GPU delegate kernels.
Explicitly applied GPU delegate, and the model graph will be {how} executed by the \
delegate{kernels}.
count=4 first=130565 curr=120829 min=117370 max=130565 avg=122373 std=4930
count=50 first=119212 curr=118055 min=113737 max=124776 avg=119375 std=1948
Inference timings in us: Init: 870557, First inference: 130565, Warmup (avg): 122373, \
Inference (avg): 119375
"""
NNAPI_REFUSED = """\
Use NNAPI: [1]
NNAPI accelerators available: [nnapi-reference]
NNAPI delegate created.
Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.
count=50 first=24000 curr=21140 min=20900 max=26000 avg=21140.3 std=900
"""


def test_an_old_one_tells_its_mean_and_no_median():
    run = benchmark_model.parse(CPU_2021, "cpu", "m.tflite")
    assert run.median_s is None
    assert run.mean_s == pytest.approx(0.0550432)
    assert run.min_s == pytest.approx(0.053077)
    assert (run.runs, run.warm_up_runs) == (50, 9)
    assert run.load_s == pytest.approx(0.018777)
    assert run.first_inference_s == pytest.approx(0.064791)
    assert run.peak_delta_bytes == round(18.7227 * 1024 * 1024)
    assert (run.delegate, run.nodes, run.total_nodes) == ("XNNPACK", None, None)


def test_a_new_one_tells_its_median_and_the_nodes_that_were_taken():
    run = benchmark_model.parse(CPU_2025, "cpu", "m.tflite")
    assert run.median_s == pytest.approx(0.003001)
    assert run.runs == 332
    assert (run.delegate, run.nodes, run.total_nodes) == ("XNNPACK", 29, 31)
    assert run.partial
    assert run.peak_delta_bytes == 9 * 1024 * 1024


@pytest.mark.parametrize(
    ("how", "kernels", "partial"),
    [("completely", "", False), ("partially", " w/ 44 delegate kernels", True)],
)
def test_a_gpu_that_takes_the_graph_is_named(how, kernels, partial):
    run = benchmark_model.parse(GPU.format(how=how, kernels=kernels), "gpu", "m.tflite")
    assert (run.delegate, run.partial) == ("GPU", partial)
    assert run.peak_delta_bytes is None, "it printed none"


def test_the_cpus_time_is_never_given_out_as_that_of_a_delegate_that_took_nothing():
    with pytest.raises(DeviceError, match=r"the NNAPI delegate took nothing of m\.tflite"):
        benchmark_model.parse(NNAPI_REFUSED, "nnapi", "m.tflite")
    with pytest.raises(DeviceError, match="the GPU delegate took nothing"):
        benchmark_model.parse(CPU_2025, "gpu", "m.tflite")


def test_what_failed_is_told_in_the_tools_own_words():
    said = (
        "STARTING!\nERROR: Could not open 'x.tflite'.\nERROR: Failed to load model x.tflite\nend\n"
    )
    with pytest.raises(DeviceError, match="nothing of x: ERROR: Failed to load model"):
        benchmark_model.parse(said, "cpu", "x")
    with pytest.raises(DeviceError, match="it printed nothing"):
        benchmark_model.parse("", "cpu", "x")


def test_the_flags_are_those_of_the_delegate():
    settings = {"threads": 2, "least_runs": 11, "least_s": 0.25, "most_s": 4.0}
    found = benchmark_model.arguments("/x/m.tflite", "nnapi", **settings)
    assert found[0] == "--graph=/x/m.tflite"
    assert {"--num_threads=2", "--num_runs=11", "--use_nnapi=true", "--max_secs=4.000"} <= set(
        found
    )
    assert not any("gpu" in flag for flag in found)
