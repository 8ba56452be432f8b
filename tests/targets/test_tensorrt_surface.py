"""Every name of TensorRT's that is used exists in 10.3 (JetPack 6), in the last 10 and in 11.

The surfaces were recorded from NVIDIA's wheels by `tests/record_tensorrt_surface.py`.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from edgekit.targets import local

TESTS = Path(__file__).parents[1]
RUNNER = Path(local.__file__).resolve().parent / "runner"
SOURCES = sorted(RUNNER.glob("tensorrt*.py"))
SURFACES = json.loads((TESTS / "data" / "tensorrt_surface.json").read_text())
VERSIONS = [surface["version"] for surface in SURFACES]
KINDS = {
    "builder": "Builder", "network": "INetworkDefinition", "config": "IBuilderConfig",
    "parser": "OnnxParser", "error": "ParserError", "profile": "IOptimizationProfile",
    "layer": "ILayer", "cache": "ITimingCache", "runtime": "Runtime", "engine": "ICudaEngine",
    "inspector": "EngineInspector", "context": "IExecutionContext", "log": "ILogger",
}  # fmt: skip
"""What the modules call their objects of TensorRT, by class."""
OURS = {"log": {"reason", "errors"}}


def used(tree: ast.AST):
    """Dotted names of the module `trt`, and (class, member) of its objects."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        path = [node.attr]
        inner = node.value
        while isinstance(inner, ast.Attribute):
            path.insert(0, inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            continue
        if inner.id == "trt":
            yield ("trt", *path)
            continue
        owner = ([inner.id, *path][-2]).lstrip("_")
        if owner in KINDS and node.attr not in OURS.get(owner, ()):
            yield (KINDS[owner], node.attr)


def lacking(tree: ast.AST, surface) -> set[str]:
    """What of it a surface has not."""
    classes = {name: set(text.split()) for name, text in surface["classes"].items()}
    offered = {*classes, *surface["others"].split(), "__version__"}
    found = set()
    for owner, *path in used(tree):
        if owner != "trt":
            there = path[0] in classes[owner]
        elif len(path) == 1:
            there = path[0] in offered
        else:
            there = path[0] in classes and path[1] in classes[path[0]]
        if not there:
            found.add(".".join([owner, *path]))
    return found


@pytest.mark.parametrize("surface", SURFACES, ids=VERSIONS)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_name_is_used_that_a_version_lacks(path, surface):
    assert lacking(ast.parse(path.read_text()), surface) == set()


def test_all_versions_that_matter_are_recorded():
    assert [version.split(".")[0] for version in VERSIONS] == ["10", "10", "11"]
    assert VERSIONS[0].startswith("10.3.")


def test_every_kind_of_object_is_seen_so_that_a_new_name_for_one_hides_nothing():
    seen = {owner for path in SOURCES for owner, *_ in used(ast.parse(path.read_text()))}
    assert {*KINDS.values(), "trt"} - seen <= {"ILogger"}


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", {"11"}),
        ("config.int8_calibrator = None", {"11"}),
        ("trt.IInt8EntropyCalibrator2", {"11"}),
        ("self._engine.device_memory_size", {"11"}),
        ("builder.platform_has_fast_int8", {"11"}),
        ("parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)", {"10.3"}),
        ("trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED", set()),
    ],
)
def test_a_removed_or_later_name_would_be_found(text, versions):
    found = {one["version"] for one in SURFACES if lacking(ast.parse(text), one)}
    assert all(any(version.startswith(one) for one in versions) for version in found)
    assert bool(found) == bool(versions)
