"""The three Vela options have to belong together: Vela takes wrong ones without a word."""

import pytest

from edgekit import hardware, registry, vela_options
from edgekit.errors import ProfileError
from edgekit.profile_types import EthosUOptions

pytestmark = pytest.mark.skipif(
    bool(registry.missing(registry.CONVERTERS["ethos_u"])), reason="ethos-u-vela is not installed"
)
BUILT_IN = ("cortex-m55-ethos-u55-128", "imx93-ethos-u65-256", "corstone-320-ethos-u85-256")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_profile_names_options_that_suit_each_other(name):
    vela_options.check(name, hardware.load(name).ethos_u)


@pytest.mark.parametrize(
    ("options", "key", "allowed"),
    [
        (("ethos-u55-512", "Ethos_U55_High_End_Embedded", "Shared_Sram"), "accelerator", "u55-256"),
        (("ethos-u55-128", "Ethos_U65_High_End", "Shared_Sram"), "system_config", "U55_Deep"),
        (("ethos-u65-256", "Ethos_U85_SYS_DRAM_Low", "Shared_Sram"), "system_config", "U65_Mid"),
        (("ethos-u85-256", "internal-default", "Shared_Sram"), "system_config", "U85_SYS_Flash"),
        (("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Fast"), "memory_mode", "Sram_Only"),
        (
            ("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Dedicated_Sram_384KB"),
            "memory_mode",
            "allowed: Sram_Only, Shared_Sram",
        ),
        (
            ("ethos-u85-256", "Ethos_U85_SYS_Flash_Low", "Dedicated_Sram"),
            "memory_mode",
            "allowed: Sram_Only, Shared_Sram",
        ),
    ],
)
def test_options_that_do_not_suit_are_refused_with_those_that_do(options, key, allowed):
    with pytest.raises(ProfileError) as caught:
        vela_options.check("board", EthosUOptions(*options))
    assert caught.value.message.startswith(f"profile board: ethos_u.{key} is '")
    assert allowed in caught.value.message
    assert caught.value.fix.startswith(f"write {key} = ")


def test_a_dedicated_sram_goes_with_a_system_that_has_dram():
    for mode in ("Dedicated_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_512KB"):
        vela_options.check("board", EthosUOptions("ethos-u65-512", "Ethos_U65_Mid_End", mode))
