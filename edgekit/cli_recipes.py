"""`edgekit recipes`."""

from __future__ import annotations

import click

from edgekit import options, printing, printing_compress, recipe_files
from edgekit.commands import CommandGroup
from edgekit.recipe_types import RecipeList, RecipeReport


@click.group("recipes", cls=CommandGroup)
def recipes() -> None:
    """The recipes that --recipe can name."""


@recipes.command("list")
@options.common
def list_(common: options.Common) -> None:
    """List every built-in recipe."""
    found = tuple(recipe_files.load(name) for name in recipe_files.names())
    result = RecipeList("edgekit.recipes/1", found)
    printing.show(result, printing_compress.recipes(result), as_json=common.as_json)


@recipes.command("show")
@click.argument("name")
@options.common
def show(common: options.Common, name: str) -> None:
    """Show one recipe, with every key.

    NAME is a name of the list, or the path of a TOML file of your own, which is checked.
    """
    recipe = recipe_files.load(name)
    result = RecipeReport("edgekit.recipe-report/1", recipe, recipe_files.sha256(recipe))
    printing.show(result, printing_compress.recipe(result), as_json=common.as_json)
