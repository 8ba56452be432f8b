"""Runs in a worker process: what of the OpenVINO converter a test cannot reach from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from edgekit.converters import openvino_check, openvino_graph


class Probe:
    """For `edgekit.workers.Worker`, with this directory on PYTHONPATH."""

    def settle(self, faults):
        """Settles a small model whose checks find these faults, one after the other."""
        parameter = ops.parameter([1, 4], np.float32, "x")
        model = openvino.Model([ops.relu(parameter)], [parameter], "model")
        artifact = openvino_check.Artifact(
            Path("m.xml"),
            {},
            openvino_graph.specs(model.inputs),
            openvino_graph.specs(model.outputs),
        )
        written = []
        shipped, warnings = openvino_check.settle(
            model,
            artifact,
            lambda graph: written.append(str(graph.inputs[0].get_partial_shape())),
            [],
            [],
            check=lambda *_: faults[len(written) - 1],
        )
        return {
            "written": written,
            "shape": shipped.inputs[0].shape,
            "warnings": warnings,
        }

    def judge(self, expected, simulated, first, second):
        """What `openvino_check.judge` says of one output of one batch."""
        batches = [[[np.array(values)]] for values in (expected, simulated, first, second)]
        return openvino_check.judge(*batches)

    def names(self):
        """Names of a small model's layers before and after naming, twice in one process."""
        found = []
        for _ in range(2):
            x = ops.parameter([1, 4], np.float32, "x")
            model = openvino.Model([ops.relu(ops.relu(ops.add(x, np.float32(1))))], [x], "model")
            model.get_parameters()[0].set_friendly_name("x")
            model.get_results()[0].set_friendly_name("y")
            openvino_graph.name_layers(model)
            found.append([node.get_friendly_name() for node in model.get_ordered_ops()])
        return found
