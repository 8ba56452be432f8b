"""From Python: names, parameters, defaults and errors of the commands; results one can read."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

import edgekit
from edgekit import cli, errors

LEAST = {
    "compress": ["m.keras", "--recipe", "lossless", "-o", "o.keras"],
    "convert": ["m.keras", "-o", "o.tflite"],
    "bench": ["m.tflite"],
    "check": ["m.result.json"],
    "compare": ["m.keras", "m.tflite"],
}
"""The shortest command line of each stage."""
STAGES = tuple(LEAST)
ONLY_ON_THE_COMMAND_LINE = {
    "as_json", "verbose", "quiet", "dry_run", "rehash", "help",  # how it is told, and nothing done
    "github",  # where broken gates are told: an exception carries them in Python
}  # fmt: skip
OPTIONS_WITHOUT_MEANING = {"bench": {"trust"}, "check": {"trust"}}
"""Options that every command takes and that these have no use for."""


def command(name: str) -> click.Command:
    found = cli.root.get_command(click.Context(cli.root), name)
    assert found is not None
    return found


def options(name: str) -> dict[str, click.Parameter]:
    left_out = ONLY_ON_THE_COMMAND_LINE | OPTIONS_WITHOUT_MEANING.get(name, set())
    return {one.name or "": one for one in command(name).params if one.name not in left_out}


@pytest.mark.parametrize("name", STAGES)
def test_every_option_of_a_command_is_a_parameter_of_its_function(name: str) -> None:
    parameters = inspect.signature(getattr(edgekit, name)).parameters
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values()), "typed, all of them"
    lacking = set(options(name)) - set(parameters)
    assert not lacking


@pytest.mark.parametrize("name", STAGES)
def test_defaults_are_those_of_the_command(name: str) -> None:
    parameters = inspect.signature(getattr(edgekit, name)).parameters
    given = command(name).make_context(name, list(LEAST[name])).params
    for option, found in options(name).items():
        required = isinstance(found, click.Argument) or found.required
        expected = inspect.Parameter.empty if required else given[option]
        assert parameters[option].default == expected, option


@pytest.mark.parametrize("name", [*STAGES, "load"])
def test_every_parameter_is_annotated_and_explained(name: str) -> None:
    function = getattr(edgekit, name)
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        assert f"        {parameter.name}: " in (function.__doc__ or ""), parameter.name
    assert signature.return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["bench", "gone.tflite"], lambda: edgekit.bench("gone.tflite")),
        (["bench", "m", "--metric", "top1"], lambda: edgekit.bench("m", metric="top1")),
        (["convert", "gone.keras", "-o", "m.tflite"],
         lambda: edgekit.convert("gone.keras", output="m.tflite")),
        (["convert", "m", "-o", "o.xml"], lambda: edgekit.convert("m", output="o.xml")),
        (["compress", "gone.keras", "--recipe", "lossless", "-o", "m.keras"],
         lambda: edgekit.compress("gone.keras", recipe="lossless", output="m.keras")),
        (["compress", "m", "--recipe", "nonsense", "-o", "m.keras"],
         lambda: edgekit.compress("m", recipe="nonsense", output="m.keras")),
        (["check", "gone.json", "--max-drop", "1%"],
         lambda: edgekit.check("gone.json", max_drop=0.01)),
        (["check", "gone.json"], lambda: edgekit.check("gone.json")),
        (["compare", "gone.keras", "m.tflite", "--data", "d.npz"],
         lambda: edgekit.compare("gone.keras", "m.tflite", data="d.npz")),
        (["compare", "m.keras", "m.tflite"], lambda: edgekit.compare("m.keras", "m.tflite")),
        (["inspect", "gone.keras"], lambda: edgekit.load("gone.keras")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_the_same_error_with_the_same_line(
    arguments, call, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.EdgekitError) as caught:
        call()
    assert cli.main([*arguments, "-q"]) == caught.value.exit_code
    told = capsys.readouterr().err.strip()
    assert told == f"error: {caught.value.message.rstrip('.')}. Fix: {caught.value.fix.rstrip('.')}"


# ------------------------------------------------------------------------------ what is shown


SHOWN = """
import sys
import edgekit
from pathlib import Path
report = edgekit.bench(sys.argv[1], budget_s=0.01)
print(repr(report))
print("=====")
print(report._repr_html_())
print("=====")
print(repr(edgekit.load(sys.argv[1])))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras"}))
"""


def test_results_show_themselves_as_the_command_prints_them(tmp_path: Path) -> None:
    from importlib import util  # noqa: PLC0415

    spec = util.spec_from_file_location(
        "tiny_models", Path(__file__).parent / "targets" / "tiny_models.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tiny = util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    artifact = tiny.dense_tflite(tmp_path / "a<b>[bold].tflite")
    done = subprocess.run(
        [sys.executable, "-c", SHOWN, artifact], capture_output=True, text=True, check=True
    )
    table, html, model = done.stdout.split("=====\n")
    assert "median latency" in table
    assert "a<b>[bold].tflite" in table
    assert "Struct" not in table
    assert html.startswith("<pre>")
    assert "a&lt;b&gt;[bold].tflite" in html
    assert "tensor" in model or "input" in model
    assert model.strip().endswith("[]"), "no framework was loaded to show anything"


def test_the_errors_are_at_hand_without_another_import() -> None:
    script = "import edgekit; print(edgekit.errors.GateError.exit_code)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3"]


def test_a_plain_import_leaves_the_data_types_without_behaviour() -> None:
    script = (
        "import edgekit.result_types as t; import edgekit.cli;"
        "print('_repr_html_' in vars(t.BenchReport), '__repr__' in vars(t.BenchReport))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
