"""`qemu://aarch64` before there is a userland, and what building one needs; offline."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edgekit import cli, registry
from edgekit.errors import DeviceError, UsageError
from edgekit.targets import debian, qemu_user, userland
from edgekit.targets.runner import environment

URL = "qemu://aarch64"
needs_apt = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")),
    reason="apt-get or dpkg-deb is not installed",
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgekit" / "qemu-aarch64"


def no_tools(monkeypatch, tmp_path, *kept: str) -> None:
    """A PATH on which there is nothing but some tools."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in kept:
        (tools / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tools))


def test_without_a_userland_it_says_what_to_type_and_fetches_nothing(cache):
    with pytest.raises(DeviceError, match="needs an arm64 userland") as caught:
        registry.target("qemu").open(URL)
    assert caught.value.fix.startswith(f"edgekit device setup {URL} (about 110 MB, once)")
    assert not cache.exists()


@pytest.mark.parametrize("url", ["qemu://", "qemu://sparc", "qemu"])
def test_a_machine_that_is_not_emulated_is_wrong_usage(url):
    with pytest.raises(UsageError, match="qemu://aarch64"):
        registry.target("qemu").open(url)


def test_nothing_follows_the_machine():
    with pytest.raises(UsageError, match="nothing can follow qemu://aarch64"):
        registry.target("qemu").open(f"{URL}/elsewhere")


def test_another_runtime_than_litert_is_refused_by_name(tmp_path):
    device = qemu_user.EmulatedArm64(tmp_path, tmp_path / "runner.pyz")
    job = {"kind": "describe", "runtime": "openvino", "artifact": "/x/m.xml"}
    with pytest.raises(DeviceError, match=r"m\.xml needs openvino, and .* has only litert"):
        device.run(job, lambda _frame: None)


def test_what_is_emulated_has_none_of_this_machines_load_clocks_and_heat():
    told = qemu_user._told({"frame": "environment", **environment.describe()})
    kept = {name for name, value in told.items() if value is not None}
    assert kept == {"frame", "arch", "cpu", "system", "versions"}


def test_a_machine_without_apt_is_told_what_is_missing(tmp_path, monkeypatch):
    no_tools(monkeypatch, tmp_path)
    with pytest.raises(DeviceError, match="needs apt-get and dpkg-deb, not found"):
        registry.target("qemu").set_up(URL, "litert", print, look_only=False)


def test_an_architecture_that_nothing_is_fetched_for_is_named(monkeypatch):
    monkeypatch.setattr(userland.platform, "machine", lambda: "riscv64")
    with pytest.raises(DeviceError, match=r"emulated on x86_64 and aarch64, .* is riscv64"):
        registry.target("qemu").set_up(URL, "litert", print, look_only=True)


@needs_apt
def test_a_dry_run_of_the_setup_says_what_would_be_fetched_and_touches_nothing(
    cache, monkeypatch, capsys
):
    monkeypatch.setenv("EDGEKIT_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    assert cli.main(["device", "setup", URL, "--dry-run"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Debian trixie (http://127.0.0.1:9/debian)" in told
    assert str(cache) in told.replace(" ", "")
    assert not cache.exists()


@needs_apt
def test_a_mirror_that_does_not_answer_is_one_line_and_leaves_no_half_userland(cache, monkeypatch):
    monkeypatch.setenv("EDGEKIT_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    if not any(path.exists() for path in debian._KEYRINGS):
        pytest.skip("debian-archive-keyring is not installed")
    with pytest.raises(DeviceError, match="apt-get update failed") as caught:
        userland.build(lambda _message: None)
    assert "EDGEKIT_DEBIAN_MIRROR=URL names another mirror" in caught.value.fix
    assert "\n" not in str(caught.value)
    assert not userland.place().exists()
    assert not userland.place().with_suffix(".new").exists()


def test_the_mirror_is_that_of_debian_among_other_sources(monkeypatch):
    monkeypatch.setattr(
        debian.platform,
        "freedesktop_os_release",
        lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"},
    )
    others = [
        "http://tools.example/apt/ main tools Tools",
        "http://mirror.example/debian-security/ main bookworm-security Debian-Security",
    ]
    updated = [*others, "http://mirror.example/debian/ main bookworm Debian"]
    fresh = [*others, "http://mirror.example/debian/ main bookworm $(LABEL)"]
    for told in (updated, fresh):
        assert next(debian._mirrors(told)) == "http://mirror.example/debian/"
    assert list(debian._mirrors(others)) == []


def test_variables_of_this_machine_do_not_reach_the_emulated_one(tmp_path):
    command = userland.command(tmp_path, "runner.pyz")
    assert command[:2] == ["env", "-i"]
    assert os.fspath(tmp_path / "usr/bin/python3.13") in command
