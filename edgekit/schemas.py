"""JSON Schemas (draft 2020-12) of edgekit's files and of what `--json` prints."""

from __future__ import annotations

import difflib
from typing import Any, get_args

import msgspec

from edgekit.build_types import BuildTables, CheckTable, InitReport, RunReport
from edgekit.cache_types import CacheReport
from edgekit.check_types import Baseline, BaselineUpdate, CheckReport
from edgekit.device_types import DeviceSetup
from edgekit.doctor_types import DoctorReport
from edgekit.errors import UsageError
from edgekit.inspect_types import InspectReport
from edgekit.manifest_types import ConversionPlan, Manifest
from edgekit.profile_types import Profile, ProfileList, ProfileReport, Technique
from edgekit.recipe_types import Recipe, RecipeList, RecipeReport
from edgekit.result_types import BenchReport
from edgekit.types import DryRun, ErrorReport, ModelInfo, SchemaList

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[str, type[msgspec.Struct]] = {
    "baseline": Baseline,
    "baseline-update": BaselineUpdate,
    "bench": BenchReport,
    "build-file": BuildTables,
    "cache": CacheReport,
    "check": CheckReport,
    "device-setup": DeviceSetup,
    "doctor": DoctorReport,
    "dry-run": DryRun,
    "error": ErrorReport,
    "init": InitReport,
    "inspect": InspectReport,
    "manifest": Manifest,
    "model": ModelInfo,
    "plan": ConversionPlan,
    "profile": Profile,
    "profile-report": ProfileReport,
    "profiles": ProfileList,
    "recipe": Recipe,
    "recipe-report": RecipeReport,
    "recipes": RecipeList,
    "run": RunReport,
    "schemas": SchemaList,
}

Schema = dict[str, Any]


def names() -> tuple[str, ...]:
    """What `json_schema` can be asked for."""
    return tuple(_TYPES)


def json_schema(name: str) -> Schema:
    """The JSON Schema of one kind of file or output.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in _TYPES:
        close = difflib.get_close_matches(name, _TYPES, n=1)
        raise UsageError(
            f"there is no schema '{name}'; schemas: {', '.join(_TYPES)}",
            f"did you mean {close[0]}?" if close else "choose one of them",
        )
    schema: Schema = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(_TYPES[name])))
    if name == "profile":
        _as_toml(schema["$defs"])
    if name == "build-file":
        _with_budgets(schema["$defs"])
    return {"$schema": DRAFT, "title": f"edgekit {name}", **schema}


def _with_budgets(definitions: dict[str, Schema]) -> None:
    """`[check]` holds budgets, and tables of them by model and target, two deep."""
    budgets: Schema = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(CheckTable)))
    own = budgets["$defs"]["CheckTable"]
    definitions["CheckTable"] = own
    definitions["CheckTableOfModel"] = {
        **own,
        "title": "CheckTableOfModel",
        "additionalProperties": {"$ref": "#/$defs/CheckTable"},
    }
    definitions["BuildTables"]["properties"]["check"] = {
        **own,
        "title": "CheckTableOfAll",
        "additionalProperties": {"$ref": "#/$defs/CheckTableOfModel"},
    }


def _as_toml(definitions: dict[str, Schema]) -> None:
    """A profile that extends another needs nothing but its name; what it says is checked alike."""
    own = definitions["Profile"]
    own["properties"]["gain"]["propertyNames"] = {"enum": list(get_args(Technique))}
    own["properties"]["extends"] = {
        "description": "The profile, or profiles, whose tables this one starts from.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    tables = {key: _required(part, definitions) for key, part in own["properties"].items()}
    own["if"] = {"not": {"required": ["extends"]}}
    own["then"] = {
        "required": own.pop("required"),
        "properties": {key: {"required": keys} for key, keys in tables.items() if keys},
    }
    own["required"] = ["name"]


def _required(part: Schema, definitions: dict[str, Schema]) -> list[str]:
    """Takes the required keys out of the definition that a property refers to."""
    options = part.get("anyOf", [part])
    targets = [option["$ref"].removeprefix("#/$defs/") for option in options if "$ref" in option]
    return [key for target in targets for key in definitions[target].pop("required", [])]
