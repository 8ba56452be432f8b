"""`edgekit device setup`: what cannot be set up, and what is there already."""

from __future__ import annotations

import pytest

from edgekit import cli, device_setup
from edgekit.errors import DeviceError
from edgekit.targets import userland

URL = "qemu://aarch64"


@pytest.mark.parametrize(
    ("url", "way_out"),
    [("foo", "name ssh://"), ("local", "edgekit doctor"), ("adb://", "--device adb://")],
)
def test_what_is_not_set_up_gets_a_fix_that_this_command_or_another_has(url, way_out):
    with pytest.raises(DeviceError) as caught:
        device_setup.plan(url, "litert")
    assert way_out in caught.value.fix
    assert "--device local" not in caught.value.fix


def test_a_userland_that_is_there_is_neither_written_nor_said_to_be(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(userland, "place", lambda: tmp_path)
    monkeypatch.setattr(userland, "versions", lambda: {"ai-edge-litert": "2.1.0"})
    assert device_setup.plan(URL, "litert").writes == ()
    assert cli.main(["device", "setup", URL]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "where it was already: nothing was changed" in shown
