"""What adb says of devices, by an `adb` that says it; a real one is in integration/test_adb.py."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

import edgekit
from edgekit import bench_warnings, cli, registry
from edgekit.bench_rounds import Observed
from edgekit.errors import DeviceError, UsageError
from edgekit.result_types import Replicate
from edgekit.targets import adb_benchmark, adb_client, adb_storage, children
from edgekit.targets.benchmark_model import Run

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).with_name("tiny_models.py")
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

LISTED = "List of devices attached\n"
FEATURES = "shell_v2\ncmd\n"


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """Writes an `adb` that answers by its arguments: `adb({"devices": (0, stdout, stderr)})`."""
    tools = tmp_path / "tools"
    tools.mkdir()

    def write(answers: dict[str, tuple[int, str, str]]) -> None:
        cases = []
        for number, (arguments, (code, out, said)) in enumerate(answers.items()):
            (tools / f"{number}.out").write_text(out)
            (tools / f"{number}.err").write_text(said)
            cases.append(
                f"  {arguments}) cat {tools}/{number}.out; cat {tools}/{number}.err >&2;"
                f" exit {code};;"
            )
        script = ["#!/bin/sh", 'case "$*" in', *cases, "esac", 'echo "unasked: $*" >&2', "exit 9"]
        path = tools / "adb"
        path.write_text("\n".join(script) + "\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    return write


def test_without_adb_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="need adb, which is not on this PATH") as caught:
        registry.target("adb").open("adb://")
    assert caught.value.fix.startswith("apt-get install adb")


@pytest.mark.parametrize(
    ("listed", "serial", "said"),
    [
        ("", "", "adb sees no device. Fix: connect one"),
        ("R1\tdevice\n", "R2", "adb sees no device 'R2'; it sees R1"),
        ("R1\tdevice\nR2\tdevice\n", "", "adb sees 2 devices: R1, R2. Fix: name one: adb://R1"),
        ("R1\toffline\n", "R1", "the device R1 is offline. Fix: connect it again"),
        ("R1\tunauthorized\n", "", "the device R1 is unauthorized. Fix: unlock it and allow"),
        (
            "R1\tno permissions (user x is not in the plugdev group); see [http://x]\n",
            "",
            "the device R1 may not be opened by this user. Fix: allow USB devices to it",
        ),
        ("R1\tbootloader\n", "", "the device R1 is in the state bootloader. Fix: start Android"),
    ],
)
def test_a_device_that_cannot_be_used_is_one_line(adb, listed, serial, said):
    adb({"devices": (0, LISTED + listed + "\n", "")})
    with pytest.raises(DeviceError) as caught:
        registry.target("adb").open(f"adb://{serial}")
    assert str(caught.value).startswith(said)


def test_the_one_that_is_ready_is_taken_where_no_serial_is_given(adb):
    adb(
        {
            "devices": (0, f"{LISTED}R1\toffline\nR2\tdevice\n", "* daemon started\n"),
            "'-s R2 features'": (0, FEATURES, ""),
        }
    )
    assert registry.target("adb").open("adb://").url == "adb://R2"


@pytest.mark.parametrize(
    "said", ["failed to connect to '10.0.0.9:5555': timed out\n", "unable to connect to 10.0.0.9\n"]
)
def test_a_connection_that_failed_with_exit_code_0_failed(adb, said):
    adb({"devices": (0, LISTED, ""), "'connect 10.0.0.9:5555'": (0, said, "")})
    with pytest.raises(DeviceError, match=r"adb cannot reach 10\.0\.0\.9:5555: (failed|unable)"):
        registry.target("adb").open("adb://10.0.0.9:5555")


def test_a_device_whose_shell_tells_no_exit_codes_is_too_old(adb):
    adb({"devices": (0, f"{LISTED}R1\tdevice\n", ""), "'-s R1 features'": (0, "cmd\n", "")})
    with pytest.raises(DeviceError, match=r"R1 is too old.* Fix: use Android 7"):
        registry.target("adb").open("adb://R1")


@pytest.mark.parametrize(
    ("code", "out", "err", "told"),
    [
        (0, "", "adb: error: failed to copy 'm' to '/x': remote No space left on device\n", "full"),
        (0, "adb: error: connect failed: closed\n", "", "connect failed: closed"),
        (1, "", "error: closed\n", "error: closed"),
        (1, "", "adb: error: device offline\n", "R1 is offline"),
    ],
)
def test_a_transfer_that_failed_is_understood_whatever_the_exit_code(
    adb, tmp_path, code, out, err, told
):
    path = tmp_path / "m.tflite"
    path.touch()
    adb({f"'-s R1 push {path} /x'": (code, out, err)})
    with pytest.raises(DeviceError, match=told):
        adb_client.Client("R1").push(path, "/x")


def test_a_program_that_fails_is_not_a_device_that_is_lost(adb):
    lost = (1, "", "error: closed")
    adb({"'-s R1 shell -T test -f /x'": (1, "", ""), "'-s R1 shell -T ls'": lost})
    client = adb_client.Client("R1")
    assert client.attempt("test", "-f", "/x") == (1, "")
    with pytest.raises(DeviceError, match="the device R1: error: closed"):
        client.attempt("ls")


def test_words_reach_the_devices_shell_quoted():
    command = adb_client.Client("R1").remote("python3", "/x/a b; rm -rf $HOME")
    assert command[:5] == ["adb", "-s", "R1", "shell", "-T"]
    printed = subprocess.run(
        ["sh", "-c", command[5].replace("exec python3", "exec printf %s")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert printed == "/x/a b; rm -rf $HOME"


def test_a_device_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "adb").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(adb_client, "LIMIT_S", 0.2)
    with pytest.raises(DeviceError, match="adb gave no answer"):
        registry.target("adb").open("adb://")


def test_what_a_phone_does_not_tell_of_itself_is_no_warning_and_no_crash(adb, tmp_path):
    adb({"'-s R1 shell -T uname -m'": (0, "aarch64\n", "")})
    device = adb_benchmark.BenchmarkModel("adb://R1", adb_client.Client("R1"), tmp_path, "cpu")
    run = Run(50, 1e-3, 1e-3, None, None, None, None, None, None, False, None, None)
    figures = msgspec.convert(adb_benchmark._figures(run), Replicate)
    observed = Observed([figures], {"environment": device.probe(), "facts": {}})
    told = list(bench_warnings.of(device, SimpleNamespace(target=None, engine=None), observed, 1))
    assert told == [f"no accuracy: {device.unjudged}"]


def test_what_adb_is_doing_ends_with_the_leash(tmp_path, monkeypatch):
    (tmp_path / "adb").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    leash = children.Leash()
    token = children.LEASH.set(leash)
    try:
        leash.pull()
        assert adb_client.call(["adb", "devices"], 60).returncode < 0
    finally:
        children.LEASH.reset(token)


def test_a_program_that_takes_long_ends_when_its_input_does(tmp_path):
    pid = tmp_path / "pid"
    leashed = ["sh", "-c", adb_client._UNTIL_INPUT_ENDS, "sh", "-c"]
    with subprocess.Popen(
        [*leashed, f"echo $$ > {pid}; exec sleep 600"], stdin=subprocess.PIPE
    ) as program:
        program.stdin.close()
        assert program.wait(timeout=30) == 128 + signal.SIGKILL
    with subprocess.Popen(
        [*leashed, 'cat; echo "$1"; exit 7', "sh", "a b"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout.read() == "a b\n"
        assert program.wait(timeout=30) == 7


class Here(adb_client.Client):
    """A device whose shell is this machine's."""

    def __init__(self, home: Path) -> None:
        super().__init__("here")
        self.home = str(home)

    def attempt(self, *words, limit_s=adb_client.LIMIT_S):
        done = adb_client.call(words, limit_s)
        return done.returncode, done.stdout + done.stderr


def test_jobs_that_were_left_for_longer_than_a_day_are_swept(tmp_path):
    for name, age_s in (("old", 90_000), ("young", 80_000)):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        (tmp_path / "jobs" / name / "samples").touch()
        begun = time.time() - age_s
        os.utime(tmp_path / "jobs" / name, (begun, begun))
    with adb_storage.job_directory(Here(tmp_path)) as place:
        left = {path.name for path in (tmp_path / "jobs").iterdir()}
        assert left == {"young", Path(place).name}
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["young"]


def test_the_binary_of_the_user_must_be_there(adb, tmp_path):
    with pytest.raises(DeviceError, match=r"--benchmark-binary .* is not a file"):
        registry.target("adb").open_benchmark("adb://", tmp_path / "none", "cpu")


def test_a_binary_for_android_is_not_for_this_machine(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    with pytest.raises(UsageError, match="runs on adb:// devices, and 'local' is none"):
        edgekit.bench(artifact, benchmark_binary=tmp_path / "benchmark_model")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--delegate", "gpu"], "--delegate gpu was given without --benchmark-binary"),
        (["--delegate", "tpu"], "'tpu' is not one of"),
    ],
)
def test_a_delegate_without_what_uses_it_is_wrong_usage(capsys, arguments, said):
    assert cli.main(["bench", "m.tflite", *arguments]) == UsageError.exit_code
    assert said in capsys.readouterr().err
