"""The documents cannot drift: what they say of commands, options and codes is compared."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from edgekit import errors, failure, hardware, reference
from edgekit.cli import COMMANDS, root

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "COMMANDS.md", "CONTRIBUTING.md", "CHANGELOG.md")

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").is_file(), reason="the tests run without the checkout"
)


def readme() -> str:
    return (ROOT / "README.md").read_text()


def error_classes(kind: type[errors.EdgekitError]) -> set[type[errors.EdgekitError]]:
    return {kind}.union(*(error_classes(child) for child in kind.__subclasses__()))


def examples() -> list[str]:
    """Every command line in the README's shell blocks and in the commands' own examples."""
    blocks = re.findall(r"^```sh\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    texts = [*blocks, *(context.command.epilog or "" for context in reference.contexts())]
    lines = [line.strip().removeprefix("$ ") for text in texts for line in text.splitlines()]
    return [line for line in lines if line.startswith("edgekit ")]


def test_commands_md_is_what_the_commands_say() -> None:
    written = (ROOT / "COMMANDS.md").read_text()
    assert written == reference.text(), "out of date: make docs"


def test_commands_md_names_every_command_and_every_option() -> None:
    written = (ROOT / "COMMANDS.md").read_text()
    for context in reference.contexts():
        section = written.partition(f"## {context.command_path}\n")[2].partition("\n## ")[0]
        assert section, f"{context.command_path} is not documented"
        for option in context.command.get_params(context):
            if isinstance(option, click.Option):
                assert all(flag in section for flag in option.opts), (context.command_path, option)
                assert option.help, f"{context.command_path} does not explain {option.opts}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_mentions_every_command(command: str) -> None:
    assert f"edgekit {command}" in readme()


def test_the_readme_has_every_exit_code_and_no_other() -> None:
    codes = {kind.exit_code for kind in error_classes(errors.EdgekitError)}
    table = readme().partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {
        0, failure.BUG_EXIT_CODE, *codes,
    }  # fmt: skip


def test_every_example_is_a_command_line_that_parses() -> None:
    lines = examples()
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)[1:]
        command: click.Command = root
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        command.make_context(command.name, words)


@pytest.mark.parametrize(
    ("heading", "target"),
    [
        ("TFLite", "host"),
        ("OpenVINO IR", "host-openvino"),
        ("ONNX Runtime", "host-onnxruntime"),
        ("TensorRT's ONNX", "nvidia-t4"),
        ("Ethos-U by Vela", "cortex-m55-ethos-u55-128"),
    ],
)
def test_the_table_of_precisions_is_what_the_profiles_support(heading: str, target: str) -> None:
    lines = [line for line in readme().splitlines() if line.startswith("|")]
    header = next(line for line in lines if "`int8-dynamic`" in line)
    row = next(line for line in lines if line.startswith(f"| {heading}"))
    names = [cell.strip(" `") for cell in header.strip("|").split("|")][1:]
    marks = [cell.strip() for cell in row.strip("|").split("|")][1:]
    stated = {name for name, mark in zip(names, marks, strict=True) if mark == "yes"}
    assert stated == set(hardware.load(target).precision.supported)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_within_the_repository_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link:
            assert (ROOT / link).exists(), f"{document} links to {link}"


def test_the_changelog_has_an_entry_for_this_version() -> None:
    from importlib import metadata  # noqa: PLC0415

    assert f"## {metadata.version('edgekit')}" in (ROOT / "CHANGELOG.md").read_text()
