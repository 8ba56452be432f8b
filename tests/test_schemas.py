import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from edgekit import profiles, schemas
from edgekit.errors import UsageError
from edgekit.recipe_types import QuantizeStep, Recipe
from edgekit.types import ErrorBody, ErrorReport

DIRECTORY = Path(profiles.__file__).parent
FILES = sorted(path for path in DIRECTORY.glob("*.toml"))
PARTS = ("profile", "recipe", "manifest", "bench", "model", "error")


@pytest.fixture
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")

    def validator(name):
        return jsonschema.Draft202012Validator(schemas.json_schema(name))

    return validator


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    if isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_file_and_output_has_a_schema():
    assert set(PARTS) <= set(schemas.names())


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_json_that_says_its_draft_and_resolves_its_references(name):
    schema = schemas.json_schema(name)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == f"edgekit {name}"
    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_valid_under_its_draft(validator, name):
    check = validator(name)
    check.check_schema(check.schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_profile_that_ships_is_accepted_as_it_stands_in_its_file(validator, path):
    given = tomllib.loads(path.read_text())
    if path.name.startswith("_"):
        given = {"name": "part", "extends": [], **given}
    validator("profile").validate(given)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nope": 1},
        {"kind": "tpu"},
        {"extends": 3},
        {"hardware": {"cores": "4"}},
        {"hardware": {"core": 4}},
        {"gain": {"int9": {"latency": 2.0}}},
        {"gain": {"int8": {"latency": 0}}},
        {"precision": {"supported": ["int4"]}},
        {"ops": {"max_version": {"ADD": 0}}},
        {"name": "My Board"},
    ],
)
def test_an_editor_sees_what_is_wrong_in_a_profile(validator, wrong):
    good = {"name": "mine", "extends": "host"}
    validator("profile").validate(good)
    assert not validator("profile").is_valid({**good, **wrong})


@pytest.mark.parametrize("lacking", ["name", "title", "format", "kind", "precision"])
def test_a_profile_that_extends_none_needs_its_keys(validator, lacking):
    whole = tomllib.loads((DIRECTORY / "host-onnxruntime.toml").read_text())
    validator("profile").validate(whole)
    assert not validator("profile").is_valid({k: v for k, v in whole.items() if k != lacking})


def test_a_table_needs_its_keys_too_unless_the_profile_extends(validator):
    whole = tomllib.loads((DIRECTORY / "host-onnxruntime.toml").read_text())
    partial = {**whole, "precision": {"supported": ["fp32"]}}
    assert not validator("profile").is_valid(partial)
    assert validator("profile").is_valid({**partial, "extends": "host"})


def test_what_edgekit_writes_is_accepted(validator):
    report = ErrorReport("edgekit.error/1", ErrorBody(1, "ProfileError", "no", "yes"))
    validator("error").validate(msgspec.to_builtins(report))
    recipe = msgspec.json.encode(Recipe("int8", (QuantizeStep(),)))
    validator("recipe").validate(json.loads(recipe))


def test_an_unknown_schema_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        schemas.json_schema("profil")
    assert all(name in caught.value.message for name in schemas.names())
    assert caught.value.fix == "did you mean profile?"
