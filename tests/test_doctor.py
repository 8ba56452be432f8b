"""`edgekit doctor` tells what is installed, by the packages' own metadata."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from edgekit import cli, doctor, registry
from edgekit.doctor_types import DoctorReport, Machine
from edgekit.targets import userland

MACHINE = Machine(
    system="Linux 6", arch="x86_64", virtual=False, cpu="a CPU", cores=4, usable_cores=4,
    cpu_quota_cores=None, governor="performance", memory_bytes=1 << 30, load_1min=0.0,
)  # fmt: skip


def test_the_json_is_the_report_that_the_schema_describes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=DoctorReport)
    assert report.edgekit == metadata.version("edgekit")
    assert report.machine.cores == os.cpu_count()
    assert report.python_supported


def test_the_table_names_every_extra_and_backend(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for name in (*registry.CONVERTERS, *registry.TARGETS, "tensorflow", "litert-quantizer"):
        assert name in printed


@pytest.mark.parametrize("version", ["2.20", "2.21", "2.21.3", "2.22", "10.0"])
@pytest.mark.parametrize(
    "wanted", ["", ">=2.21", "<2.22,>=2.21", ">2.21", "<=2.21", "==2.21", "!=2.21"]
)
def test_bounds_agree_with_packaging(version: str, wanted: str) -> None:
    assert doctor.fits(version, wanted) == SpecifierSet(wanted).contains(Version(version))


def test_every_package_of_the_metadata_is_looked_at() -> None:
    listed = {package.name for extra in doctor.extras() for package in extra.packages}
    required = {
        line.partition(";")[0].strip() for line in metadata.requires("edgekit") or ()
        if not line.startswith("edgekit[")
    }  # fmt: skip
    assert len(listed) == len(required)
    assert all(any(line.startswith(name) for line in required) for name in listed)


def test_what_is_installed_is_what_the_metadata_says() -> None:
    core = {package.name: package for package in doctor.extras()[0].packages}
    assert core["numpy"].installed == metadata.version("numpy")
    assert core["numpy"].fits


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """Makes distributions look as if they were not installed."""
    version, has_module = metadata.version, registry.has_module

    def without(name: str) -> str:
        if name in hidden:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    monkeypatch.setattr(
        registry, "has_module", lambda name: name not in hidden and has_module(name)
    )


def test_a_missing_package_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, "nncf")
    openvino = next(extra for extra in doctor.extras() if extra.name == "openvino")
    assert not openvino.complete
    assert openvino.install == "pip install 'edgekit[openvino]'"
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "missing: pip install 'edgekit[openvino]'" in printed
    assert "no, needs nncf: pip install 'edgekit[openvino]'" in printed


def test_a_missing_core_package_names_edgekit_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "ai-edge-litert", "ai_edge_litert")
    core = doctor.extras()[0]
    assert core.install == "pip install 'edgekit'"
    runtime = next(
        one for one in doctor.backends() if (one.kind, one.name) == ("runtime", "litert")
    )
    assert runtime.detail == "needs ai_edge_litert: pip install edgekit"


def test_what_each_emulated_machine_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def qemu() -> tuple[bool, str]:
        (found,) = (one for one in doctor.backends() if one.name == "qemu")
        return found.ready, found.detail

    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    ready, lacking = qemu()
    assert not ready
    assert (
        "qemu://cortex-m… needs arm-none-eabi-gcc, arm-none-eabi-size, qemu-system-arm" in lacking
    )
    assert "qemu://aarch64 needs edgekit device setup qemu://aarch64" in lacking
    userland.place().mkdir(parents=True)
    assert qemu() == (True, lacking.partition(";")[0])


def test_what_disturbs_measuring_is_said() -> None:
    hindered = msgspec.structs.replace(MACHINE, cpu_quota_cores=1.5, governor="powersave")
    measured = doctor.measuring(MACHINE)
    assert measured.wall_per_cpu >= 0.99
    worse = msgspec.structs.replace(measured, contended=True, peak_memory=False)
    told = " ".join(doctor.notes(worse, hindered))
    for part in ("another process", "clear_refs", "1.5 cores", "powersave"):
        assert part in told
    calm = msgspec.structs.replace(measured, contended=False, peak_memory=True)
    assert list(doctor.notes(calm, MACHINE)) == []


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="not Linux")
def test_peak_memory_is_tried_and_not_assumed() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
        writable = True
    except OSError:
        writable = False
    assert doctor.measuring(MACHINE).peak_memory == writable
