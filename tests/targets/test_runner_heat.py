"""Temperature and throttling, from directories laid out as the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.targets.runner import heat


def zone(thermal: Path, number: int, kind: str, text: str) -> None:
    place = thermal / f"thermal_zone{number}"
    place.mkdir(parents=True)
    (place / "type").write_text(f"{kind}\n")
    (place / "temp").write_text(f"{text}\n")


def cooler(thermal: Path, number: int, kind: str, state: str) -> None:
    place = thermal / f"cooling_device{number}"
    place.mkdir(parents=True)
    (place / "type").write_text(f"{kind}\n")
    (place / "cur_state").write_text(f"{state}\n")


def test_the_hottest_zone_of_the_processor_counts(tmp_path):
    zone(tmp_path, 0, "battery", "91000")
    zone(tmp_path, 1, "cpu0-thermal", "61500")
    zone(tmp_path, 2, "x86_pkg_temp", "64000")
    zone(tmp_path, 3, "cpu1-thermal", "-273000")
    assert heat.temperature_c(tmp_path) == 64.0


def test_any_zone_will_do_where_none_is_named_after_the_processor(tmp_path):
    zone(tmp_path, 0, "acpitz", "48000")
    zone(tmp_path, 1, "nonsense", "hot")
    assert heat.temperature_c(tmp_path) == 48.0


def test_what_the_system_does_not_tell_is_none(tmp_path):
    assert heat.temperature_c(tmp_path) is None
    assert heat.is_held_down(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("bits", "held"),
    [("0", False), ("50000", False), ("50005", True), ("0x8", True), ("4", True)],
)
def test_the_firmware_of_a_raspberry_pi_says_what_holds_now(bits, held, tmp_path):
    """Bits 0 to 3 are now, 16 to 19 at some time since boot (vcgencmd's documentation)."""
    firmware = tmp_path / "get_throttled"
    firmware.write_text(f"{bits}\n")
    assert heat.is_held_down(tmp_path, firmware) is held


def test_a_cooling_device_that_slows_the_processor_is_throttling(tmp_path):
    cooler(tmp_path, 0, "Fan", "3")
    assert heat.is_held_down(tmp_path, tmp_path / "none") is None
    cooler(tmp_path, 1, "cpufreq-cpu0", "0")
    assert heat.is_held_down(tmp_path, tmp_path / "none") is False
    cooler(tmp_path, 2, "Processor", "2")
    assert heat.is_held_down(tmp_path, tmp_path / "none") is True
