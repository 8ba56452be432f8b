"""Recipes: the built-in ones load, and whatever is wrong with one names its key."""

from __future__ import annotations

import json

import pytest

from edgekit import cli, recipe_files
from edgekit.errors import RecipeError
from edgekit.recipe_types import ChannelsStep, QuantizeStep, Recipe


@pytest.mark.parametrize("name", recipe_files.names())
def test_a_built_in_recipe_loads_under_its_own_name(name):
    recipe = recipe_files.load(name)
    assert recipe.name == name
    assert recipe.title


def test_a_recipe_says_what_its_file_says(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[[step]]\nkind = "channels"\nratio = 0.3\nscope = "global"\n'
        '[[step]]\nkind = "quantize"\nprecision = "fp16"\n'
    )
    expected = Recipe("mine", (ChannelsStep(0.3, scope="global"), QuantizeStep(precision="fp16")))
    assert recipe_files.load(path) == expected


CHANNELS = 'name = "a"\n[[step]]\nkind = "channels"\n'
PRUNE = 'name = "a"\n[[step]]\nkind = "prune"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHANNELS + "ratio = 1.5", r"step\[0\]\.ratio is 1\.5: Expected float < 1"),
        (CHANNELS + "ratio = 0", r"step\[0\]\.ratio is 0: Expected float > 0"),
        (CHANNELS + "ratio = nan", r"step\[0\]\.ratio is nan"),
        (CHANNELS + 'ratio = "half"', r"step\[0\]\.ratio is 'half'"),
        (CHANNELS, r"step\[0\] \(channels\) says not how much goes; exactly one of ratio, max_m"),
        (
            CHANNELS + "ratio = 0.5\nmax_macs = 0.5",
            r"step\[0\] \(channels\) has ratio and max_macs",
        ),
        (CHANNELS + 'ratio = "half"', "allowed: a number, auto"),
        (CHANNELS + "ratio = 0.5\noverall = 0.5", 'has overall, which goes with ratio = "auto"'),
        (
            CHANNELS + 'ratio = "auto"\nmax_macs = 0.5\nmax_parameters = 0.5',
            r"\(channels\) has ratio and max_macs and max_parameters",
        ),
        (CHANNELS + 'ratio = "auto"\nscope = "global"', r"a share per layer, and scope = .global"),
        (CHANNELS + 'ratio = "auto"\noverall = 0.5\nmax_macs = 0.5', "overall and a budget"),
        (CHANNELS + 'ratio = "auto"\noverall = 0.95', r"step\[0\]\.overall is 0\.95"),
        (PRUNE + "sparsity = 0.5\noverall = 0.5", 'has overall, which goes with sparsity = "auto"'),
        (PRUNE + 'sparsity = "auto"\nscope = "global"', "a share per layer, and scope"),
        (PRUNE + 'sparsity = "auto"\npattern = "2:4"', r"sparsity is 'auto', and the p"),
        (CHANNELS + "max_macs = 1.5", r"step\[0\]\.max_macs is 1\.5"),
        (CHANNELS + "max_parameters = 0", r"step\[0\]\.max_parameters is 0"),
        (CHANNELS + "ratio = 0.5\niterations = 0", r"step\[0\]\.iterations is 0"),
        ('name = "a"\n[[step]]\nkind = "distill"\ntemperature = 0', r"step\[0\]\.temperature is 0"),
        ('name = "a"\n[[step]]\nkind = "distill"\nweight = 1.5', r"step\[0\]\.weight is 1\.5"),
        ('name = "a"\n[[step]]\nkind = "finetune"\nepochs = 0', r"step\[0\]\.epochs is 0"),
        (
            CHANNELS + "ratio = 0.5\nratoi = 1",
            r"unknown key step\[0\]\.ratoi; allowed: kind, ratio",
        ),
        (CHANNELS + 'ratio = 0.5\ncriterion = "l3"', r"step\[0\]\.criterion is 'l3'"),
        ('name = "a"\n[[step]]\nratio = 0.5', r"lacks the key step\[0\]\.kind"),
        ('name = "a"\n[[step]]\nkind = 5', r"step\[0\]\.kind is 5"),
        ('name = "a"\nstep = [5]', r"step\[0\] is 5"),
        ('name = "a"\nstep = []', r"step is \[\]"),
        ('name = "a"\n[step]\nkind = "simplify"', "step is "),
        ('name = "a"', "lacks the key step"),
        ('name = "A b"\n[[step]]\nkind = "simplify"', "name is 'A b'"),
        ('name = "a"\nsteps = 1\n[[step]]\nkind = "simplify"', "unknown key steps; allowed: name"),
        ("name = ", "not valid TOML"),
        (
            'name = "a"\n[[step]]\nkind = "quantize"\nprecision = "int9"',
            r"step\[0\]\.precision is 'int9'",
        ),
        (
            'name = "a"\n[[step]]\nkind = "quantize"\nmode = "qad"',
            r"step\[0\]\.mode is 'qad'",
        ),
        (
            'name = "a"\n[[step]]\nkind = "quantize"\nmode = "qat"\nprecision = "int16x8"',
            r"has precision int16x8, and mode \"qat\" simulates int8 alone",
        ),
        (
            'name = "a"\n[[step]]\nkind = "quantize"\nmode = "qat"\nrefine = true',
            r"both mode \"qat\"",
        ),
        (
            'name = "a"\n[[step]]\nkind = "quantize"\nrefine = true\nepochs = 3',
            r"step\[0\]\.epochs goes with mode \"qat\", and the mode is \"ptq\"",
        ),
        (
            'name = "a"\n[[step]]\nkind = "quantize"\n[[step]]\nkind = "simplify"',
            r"step\[0\] quantizes, and only the last step can",
        ),
    ],
)
def test_what_is_wrong_names_its_key(tmp_path, text, words):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=words) as raised:
        recipe_files.load(path)
    assert raised.value.fix


PRUNE = 'name = "a"\n[[step]]\nkind = "prune"\n'
CLUSTER = 'name = "a"\n[[step]]\nkind = "cluster"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PRUNE, r"lacks the key step\[0\]\.sparsity"),
        (PRUNE + "sparsity = 1.5", r"step\[0\]\.sparsity is 1\.5: Expected float < 1"),
        (PRUNE + "sparsity = 0", r"step\[0\]\.sparsity is 0"),
        (PRUNE + 'sparsity = "much"', r"step\[0\]\.sparsity is 'much'"),
        (
            PRUNE + 'sparsity = 0.5\npattern = "2-4"',
            r"step\[0\]\.pattern is '2-4': allowed: \"unstructured\", N:M as \"2:4\", blocks",
        ),
        (PRUNE + 'sparsity = 0.5\npattern = "4:4"', "of 4 neighbours 4 cannot stay"),
        (
            PRUNE + 'sparsity = 0.8\npattern = "2:4"',
            r"step\[0\]\.sparsity is 0\.8, and the pattern 2:4 has 0\.5",
        ),
        (PRUNE + 'sparsity = 0.5\npattern = "2:4"\nscope = "global"', r"step\[0\]\.scope is 'gl"),
        (PRUNE + 'sparsity = 0.5\nschedule = "linear"', r"step\[0\]\.schedule is 'linear'"),
        (
            PRUNE + 'sparsity = 0.5\n[[step]]\nkind = "channels"\nratio = 0.5\n'
            'criterion = "reconstruction"',
            r"step\[1\] \(channels\) has the criterion reconst.*would undo step\[0\] \(prune\)",
        ),
        (
            f'{CLUSTER}clusters = 8\n[[step]]\nkind = "prune"\nsparsity = 0.5',
            r"step\[1\] \(prune\) parts the values that weights share by step\[0\] \(cluster\)",
        ),
        ('name = "a"\n[[step]]\nkind = "cluster"\nclusters = 1', r"step\[0\]\.clusters is 1"),
        ('name = "a"\n[[step]]\nkind = "cluster"\nclusters = 999', r"step\[0\]\.clusters is 999"),
        (
            'name = "a"\n[[step]]\nkind = "cluster"\nclusters = 9\ninit = "linear"',
            r"step\[0\]\.init is 'linear'",
        ),
    ],
)
def test_what_is_wrong_with_zeros_or_clusters_names_its_key(tmp_path, text, words):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=words) as raised:
        recipe_files.load(path)
    assert raised.value.fix


def test_channels_may_not_part_the_groups_of_a_pattern(tmp_path):
    path = tmp_path / "a.toml"
    prune = '[[step]]\nkind = "prune"\nsparsity = 0.5\n'
    channels = '[[step]]\nkind = "channels"\nratio = 0.5\n'
    path.write_text(f'name = "a"\n{prune}pattern = "2:4"\n{channels}')
    with pytest.raises(RecipeError, match=r"would part the groups of step\[0\] \(prune\)"):
        recipe_files.load(path)
    path.write_text(f'name = "a"\n{prune}{channels}')
    assert recipe_files.load(path)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "1:3", "1x16"])
def test_a_pattern_that_fits_its_sparsity_is_taken(tmp_path, pattern):
    path = tmp_path / "a.toml"
    sparsity = 0.667 if pattern == "1:3" else 0.5
    path.write_text(f'{PRUNE}sparsity = {sparsity}\npattern = "{pattern}"\n')
    assert recipe_files.load(path).step[0].pattern == pattern


@pytest.mark.parametrize("kind", ["binarize", "qat"])
def test_a_step_that_is_not_there_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "a.toml"
    path.write_text(f'name = "a"\n[[step]]\nkind = "{kind}"\nepochs = 3\n')
    words = f"has no step '{kind}' yet; it has: simplify, channels, finetune, distill, prune"
    with pytest.raises(RecipeError, match=words):
        recipe_files.load(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("losless", "did you mean lossless"),
        ("missing.toml", "does not exist"),
        ("/", "is not a regular file"),
    ],
)
def test_a_recipe_that_is_not_there_is_one_line(name, words):
    with pytest.raises(RecipeError, match=words):
        recipe_files.load(name)


def test_the_command_lists_and_shows_recipes(capsys):
    assert cli.main(["recipes", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert [one["name"] for one in listed] == list(recipe_files.names())
    assert cli.main(["recipes", "show", "channels50-int8"]) == 0
    assert "ratio 0.5, criterion l1, scope layer" in capsys.readouterr().out
    assert cli.main(["recipes", "show", "nonsense"]) == 1
    assert "no recipe named" in capsys.readouterr().err


def test_a_byte_order_mark_is_left_out(tmp_path):
    text = b'\xef\xbb\xbfname = "r"\n[[step]]\nkind = "quantize"\nprecision = "int8"\n'
    (tmp_path / "r.toml").write_bytes(text)
    assert recipe_files.load(tmp_path / "r.toml").name == "r"


def test_a_key_that_is_nested_without_end_is_refused(tmp_path):
    (tmp_path / "r.toml").write_text(".".join(["a"] * 20_000) + " = 1")
    with pytest.raises(RecipeError, match="32 are allowed"):
        recipe_files.load(tmp_path / "r.toml")
