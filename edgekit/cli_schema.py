"""`edgekit schema`."""

from __future__ import annotations

import json

import click

from edgekit import options, printing, schemas, streams
from edgekit.commands import Command
from edgekit.types import SchemaList


@click.command("schema", cls=Command)
@click.argument("name", required=False)
@options.common
def schema(common: options.Common, name: str | None) -> None:
    """Print the JSON Schema of a file or of a --json output, or list their names.

    Editors check profiles and manifests with them.
    """
    if name is not None:
        streams.write_result(json.dumps(schemas.json_schema(name), indent=2) + "\n")
        return
    known = SchemaList("edgekit.schemas/1", schemas.names())
    printing.show(known, "\n".join(known.names), as_json=common.as_json)
