"""What an import may load: `edgekit --help` no framework, no command a framework either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.cli import COMMANDS

FRAMEWORKS = (
    "keras", "tf_keras", "tensorflow", "openvino", "nncf", "onnx", "onnxruntime", "tf2onnx",
    "litert_quantizer", "ai_edge_litert", "h5py", "sklearn", "scipy", "PIL", "tensorrt",
    "tensorflow_model_optimization",
)  # fmt: skip
HELP_MAY_LOAD = {"click", "edgekit"}
"""Beyond the standard library."""


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are in `sys.modules` after `code` ran in a fresh interpreter."""
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"  # what site and an editable install bring is not ours
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    {code}\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_help_loads_click_and_nothing_else() -> None:
    loaded = loaded_by("from edgekit.cli import main; assert main(['--help']) == 0")
    third_party = {name for name in loaded if name not in sys.stdlib_module_names}
    assert third_party == HELP_MAY_LOAD


def test_a_wrong_command_line_loads_click_and_nothing_else() -> None:
    loaded = loaded_by("from edgekit.cli import main; assert main(['nonsense', '--x']) == 2")
    assert {name for name in loaded if name not in sys.stdlib_module_names} == HELP_MAY_LOAD


def test_importing_edgekit_loads_none_of_its_modules() -> None:
    script = "import sys, edgekit; print(*[m for m in sys.modules if m.startswith('edgekit.')])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_loads_no_framework(command: str) -> None:
    loaded = loaded_by(f"from edgekit.cli import main; assert main(['{command}', '-h']) == 0")
    assert loaded.isdisjoint(FRAMEWORKS), loaded & set(FRAMEWORKS)


def test_doctor_loads_no_framework() -> None:
    loaded = loaded_by("from edgekit.cli import main; assert main(['doctor', '--json']) == 0")
    assert loaded.isdisjoint(FRAMEWORKS), loaded & set(FRAMEWORKS)


@pytest.mark.parametrize("name", ["compress", "convert", "bench", "check", "compare", "load"])
def test_what_edgekit_offers_is_a_function_and_not_a_module(name: str) -> None:
    import edgekit  # noqa: PLC0415

    assert callable(getattr(edgekit, name))
    assert name in dir(edgekit)
    package = Path(edgekit.__file__ or "").parent
    assert not (package / f"{name}.py").exists(), "a module of this name would hide the function"


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    import edgekit  # noqa: PLC0415

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        edgekit.nonsense  # noqa: B018


def test_a_missing_framework_is_the_only_reason_for_a_module_not_to_import() -> None:
    script = """
import importlib, pkgutil, sys
import edgekit
frameworks = sys.argv[1:]
sys.modules.update(dict.fromkeys(frameworks))  # None there makes an import fail
for module in pkgutil.walk_packages(edgekit.__path__, "edgekit."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            assert (error.name or "").partition(".")[0] in frameworks, (module.name, error)
            print(module.name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *FRAMEWORKS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    main_process = {module for module, _, _ in COMMANDS.values()}
    assert main_process.isdisjoint(done.stdout.split())
