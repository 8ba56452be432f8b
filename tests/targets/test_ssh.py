"""ssh:// without a device: URLs, what reaches ssh, what its failures mean, the keeper of files."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.errors import DeviceError, UsageError
from edgekit.targets import (
    conversation,
    kept_files,
    local,
    ssh,
    ssh_address,
    ssh_connection,
    ssh_failures,
    ssh_setup,
)
from edgekit.targets.ssh_address import Address

HERE = Path(local.__file__).resolve().parent
ALONE = sorted(HERE.glob("remote_*.py"))
"""What runs on a device by itself."""

FAKE = """\
#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word" >> "$FAKE_LOG"; done
echo ==== >> "$FAKE_LOG"
case "$*" in
  *"-G "*) printf '%s\\n' "hostname board" "port 22" "serveraliveinterval ${FAKE_ALIVE:-0}" \
    "serveralivecountmax 3" "connecttimeout none";;
  *"-O exit"*) ;;
  *) echo "$FAKE_SAYS" >&2; exit ${FAKE_CODE:-255};;
esac
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """An `ssh` that notes its arguments, and fails with what the test wants it to say."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ssh"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_SAYS", "")

    def calls() -> list[list[str]]:
        text = (tmp_path / "log").read_text()
        return [call.split("\n") for call in text.removesuffix("\n====\n").split("\n====\n")]

    return calls


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ssh://board", Address("board")),
        ("ssh://pi@kitchen.local", Address("kitchen.local", "pi")),
        ("ssh://pi@10.0.0.7:2222/", Address("10.0.0.7", "pi", 2222)),
        ("ssh://[::1]:22", Address("::1", None, 22)),
        ("ssh://pi@[fe80::1%eth0]", Address("fe80::1%eth0", "pi")),
    ],
)
def test_a_url_names_user_host_and_port(url, address):
    assert ssh_address.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "ssh://", "ssh:board", "ssh://-oProxyCommand=x", "ssh://-oA=b@host", "ssh://a b",
        "ssh://host;reboot", "ssh://$(reboot)", "ssh://u@-host", "ssh://host/path", "ssh://host:0",
        "ssh://host:65536", "ssh://host:2²", "ssh://host:-1", "ssh://host:", "ssh://a@b@c",
        "ssh://[::1", "ssh://host\n", "ssh://@host",
    ],
)  # fmt: skip
def test_what_is_no_such_url_is_a_usage_error(url):
    with pytest.raises(UsageError, match=r"ssh://\[user@\]host\[:port\]"):
        ssh_address.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://pi:hunter2@board", "ssh://pi:hunter2@bo ard", "ssh://pi:hunter2@",
        "ssh:pi:hunter2@board", "ssh://:hunter2@board:x", "ssh://pi:hunter2:x@board/path",
    ],
)  # fmt: skip
def test_a_password_is_refused_and_not_repeated_whatever_else_is_wrong(url):
    with pytest.raises(UsageError, match="holds a password") as caught:
        ssh_address.parse(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("more", [["--dry-run"], ["--benchmark-binary", "x"]])
def test_no_command_repeats_a_password(more, capsys):
    assert cli.main(["bench", "m.tflite", "--device", "ssh://pi:hunter2@board", *more]) == 2
    said = capsys.readouterr()
    assert "holds a password" in said.err
    assert "hunter2" not in said.out + said.err


def test_no_word_of_a_remote_command_can_be_another_ones_or_an_option(fake):
    connection = ssh_connection.Connection("ssh://pi@board:22", Address("board", "pi", 22))
    words = ["python3", "-c", "print('a; b')", "$(reboot)", "a b", "`x`", "*", ""]
    command = connection.command(words)
    assert command[-3:-1] == ["--", "board"]
    assert shlex.split(command[-1]) == words
    shown = subprocess.run(
        ["sh", "-c", shlex.join(["printf", "%s\\n", *words])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split("\n")[:-1] == words
    connection.close()


def test_host_keys_are_never_weakened_and_nobody_is_asked(fake):
    connection = ssh_connection.Connection("ssh://board", Address("board"))
    text = " ".join(connection.command(["true"]))
    assert "BatchMode=yes" in text
    assert "StrictHostKeyChecking" not in text
    assert "UserKnownHostsFile" not in text
    assert "-F" not in connection.command(["true"])
    connection.close()


def test_the_users_own_patience_holds_where_it_is_set(fake, monkeypatch):
    ours = ssh_connection.Connection("ssh://board", Address("board"))
    monkeypatch.setenv("FAKE_ALIVE", "30")
    theirs = ssh_connection.Connection("ssh://board", Address("board"))
    assert (ours.peer.silence_s, theirs.peer.silence_s) == (15, 90)
    assert "ServerAliveInterval=30" in theirs.command(["true"])
    for connection in (ours, theirs):
        connection.close()


def test_the_shared_connection_is_private_and_gone_afterwards(fake, tmp_path, monkeypatch):
    long = tmp_path / ("long" * 30)
    spaced = tmp_path / "a b%h$HOME"
    for place in (long, spaced):
        place.mkdir()
    for place in (tmp_path, long, spaced):
        monkeypatch.setattr("tempfile.tempdir", str(place))
        connection = ssh_connection.Connection("ssh://board", Address("board"))
        (option,) = [w for w in connection.command(["true"]) if w.startswith("ControlPath=")]
        socket = Path(option.removeprefix("ControlPath="))
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert len(str(socket)) < 100, "ssh adds a suffix, and Linux takes 107"
        assert not set(str(socket)) & set(" %$"), "ssh would make another path of it"
        connection.close()
        assert not socket.parent.exists()
        assert fake()[-1][-4:] == ["-O", "exit", "--", "board"]


def test_a_machine_without_ssh_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match=r"needs ssh, which is not here\. Fix: install openssh"):
        ssh.open("ssh://board")


CHANGED = """\
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
Offending ED25519 key in /home/me/known:3
Host key verification failed."""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (CHANGED, ("not the one that is known", "ssh-keygen -R 'board' -f /home/me/known")),
        ("No ED25519 host key is known for board", ("not known here", "ssh -p 22 pi@board once")),
        ("pi@board: Permission denied (publickey).", ("takes publickey", "ssh-copy-id -p 22 pi@")),
        ("ssh: Could not resolve hostname board: x", ("no host board", "~/.ssh/config")),
        ("ssh: connect to host board port 22: Connection refused", ("nothing listens",)),
        ("ssh: connect to host b port 22: No route to host", ("no answer within 10 s",)),
        ("Connection timed out during banner exchange", ("no answer within 10 s",)),
        ("Timeout, server board not responding.", ("connection was lost", "silent for 15 s")),
        ("mux_client_request_session: read from master failed: Broken pipe", ("was lost",)),
        ("/x/config: line 3: Bad configuration option: nonsense", ("line 3", "~/.ssh/config")),
        ("something quite new", ("ssh failed: something quite new",)),
        ("", ("connection was lost",)),
    ],
)
def test_each_failure_of_ssh_is_one_line_with_its_own_fix(fake, monkeypatch, said, words):
    monkeypatch.setenv("FAKE_SAYS", said)
    with ssh.open("ssh://pi@board:22") as device, pytest.raises(DeviceError) as caught:
        device.probe()
    text = str(caught.value)
    assert text.startswith("ssh://pi@board:22: ")
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_a_login_shell_that_runs_nothing_is_told(fake, monkeypatch):
    monkeypatch.setenv("FAKE_SAYS", "This account is not available.")
    monkeypatch.setenv("FAKE_CODE", "1")
    with (
        ssh.open("ssh://board") as device,
        pytest.raises(DeviceError, match=r"exit code 1\): This account is not available\."),
    ):
        device.probe()


def test_a_command_that_never_ends_is_given_up(fake):
    connection = ssh_connection.Connection("ssh://board", Address("board"))
    connection.command = lambda _words: ["sleep", "60"]
    with (
        pytest.raises(DeviceError, match=r"did not answer within 0\.05 s"),
        connection.run(["true"], limit_s=0.05),
    ):
        pass


def test_what_sends_for_longer_than_its_limit_is_waited_for_until_it_falls_silent(fake, tmp_path):
    class Slow:
        """Sends something in each of three spans of the limit, and ends or falls silent then."""

        def __init__(self, output, code):
            self.output, self.code, self.left = output, code, 3

        def wait(self, limit_s):
            if self.left:
                self.left -= 1
                self.output.write(b"x")
            elif self.code is not None:
                return self.code
            raise subprocess.TimeoutExpired("ssh", limit_s)

    connection = ssh_connection.Connection("ssh://board", Address("board"))
    with (tmp_path / "output").open("wb", buffering=0) as output:
        assert connection._wait(Slow(output, 0), output, 1.0) == 0
        with pytest.raises(DeviceError, match="did not answer within 1 s"):
            connection._wait(Slow(output, None), output, 1.0)
    connection.close()


# ----------------------------------------------------------------------------------- the keeper


class Here:
    """A connection that runs its commands on this machine."""

    peer = ssh_failures.Peer("ssh://here", Address("here"), "here", 10, 15)
    is_lost = False
    run = ssh_connection.Connection.run
    _wait = ssh_connection.Connection._wait

    def command(self, words):
        return list(words)


@pytest.fixture
def keeper(tmp_path):
    return kept_files.Keeper(Here(), [sys.executable], str(tmp_path / "cache"))


@pytest.mark.parametrize("path", ALONE, ids=lambda path: path.name)
def test_what_runs_on_a_device_alone_is_python_3_9_and_the_standard_library(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_files_that_are_kept_are_there_whole_and_private(keeper, tmp_path):
    (tmp_path / "b.bin").write_bytes(bytes(range(256)) * 9000)
    files = [("a.xml", b"<net/>"), ("b.bin", tmp_path / "b.bin")]
    place = Path(keeper.send("kept/model", files, keep=True))
    assert (place / "a.xml").read_bytes() == b"<net/>"
    assert (place / "b.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_file_that_was_cut_short_on_the_device_is_sent_again(keeper):
    files = [("a.bin", b"whole")]
    place = Path(keeper.send("kept/model", files, keep=True))
    inode = (place / "a.bin").stat().st_ino
    assert Path(keeper.send("kept/model", files, keep=True)) == place
    assert (place / "a.bin").stat().st_ino == inode
    (place / "a.bin").write_bytes(b"who")
    keeper.send("kept/model", files, keep=True)
    assert (place / "a.bin").read_bytes() == b"whole"


def test_two_that_send_the_same_artifact_at_once_do_not_take_it_from_each_other(
    keeper, monkeypatch, tmp_path
):
    monkeypatch.setattr(keeper, "ask", lambda _do, **_request: {"have": False})  # both asked first
    files = [("a.xml", b"<net/>"), ("a.bin", b"weights")]
    place = Path(keeper.send("kept/model", files, keep=True))
    inode = place.stat().st_ino
    keeper.send("kept/model", files, keep=True)
    assert place.stat().st_ino == inode, "it was there at every moment"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == dict(files)
    assert list((tmp_path / "cache" / "kept").iterdir()) == [place]


def test_what_arrives_changed_is_refused_and_removed(keeper, monkeypatch, tmp_path):
    monkeypatch.setattr(kept_files, "_measured", lambda _content: (5, "0" * 64))
    with pytest.raises(DeviceError, match=r"a\.bin arrived changed"):
        keeper.send("kept/model", [("a.bin", b"whole")])
    assert list((tmp_path / "cache" / "kept").iterdir()) == []


def test_the_oldest_goes_first_when_the_limit_is_reached(keeper, monkeypatch, tmp_path):
    monkeypatch.setattr(kept_files, "KEPT_BYTES", 2500)
    for number, age_s in ((1, 8000), (2, 9000), (3, 100)):
        place = keeper.send(f"kept/{number}", [("m", bytes(1000))])
        now = os.stat(place).st_mtime
        os.utime(place, (now - age_s, now - age_s))
    keeper.send("kept/4", [("m", bytes(1000))])
    left = sorted(path.name for path in (tmp_path / "cache" / "kept").iterdir())
    assert left == ["3", "4"], "1 and 2 are oldest; what was used within the hour stays"


def test_a_name_never_leads_out_of_the_entry(keeper, tmp_path):
    place = keeper.send("kept/x", [("../../../escaped", b"data")])
    assert [path.name for path in Path(place).iterdir()] == ["escaped"]
    assert not (tmp_path / "escaped").exists()


def test_only_numbered_outputs_are_taken_from_a_device(keeper, tmp_path):
    keeper.send("runs/s/results", [("000000.npz", b"one"), ("000001.npz", b"two")])
    keeper.fetch("runs/s/results", tmp_path / "back")
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        "000000.npz": b"one", "000001.npz": b"two",
    }  # fmt: skip
    keeper.send("runs/s/results", [(".bashrc", b"evil")])
    with pytest.raises(DeviceError, match="sent a file that no runner writes"):
        keeper.fetch("runs/s/results", tmp_path / "back")


def test_artifacts_of_one_name_size_and_age_are_not_taken_for_each_other(fake, keeper, tmp_path):
    places = []
    with ssh.open("ssh://board") as device:
        for content in (b"one", b"two"):
            path = tmp_path / content.decode() / "m.tflite"
            path.parent.mkdir()
            path.write_bytes(content)
            os.utime(path, (0, 0))
            places.append(device._artifact(keeper, [("m.tflite", path)]))
    assert [(Path(place) / "m.tflite").read_bytes() for place in places] == [b"one", b"two"]


def test_a_session_that_died_a_day_ago_is_swept_and_a_younger_one_is_not(keeper, monkeypatch):
    old, young = (keeper.send(f"runs/{name}/once", [("a", b"1")]) for name in ("old", "young"))
    day_ago = os.stat(old).st_mtime - 90_000
    os.utime(Path(old).parent, (day_ago, day_ago))
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(keeper.cache).parent))
    os.rename(keeper.cache, Path(keeper.cache).parent / "edgekit")
    keeper.ask("survey", modules=[], ready="x", look_only=False)
    runs = Path(keeper.cache).parent / "edgekit" / "runs"
    assert [path.name for path in runs.iterdir()] == [Path(young).parent.name]


def test_another_users_directory_in_tmp_is_not_taken(keeper, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    open_to_all = tmp_path / f"edgekit-{os.geteuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(DeviceError, match=r"no place there can be written: .*open to others"):
        keeper.ask("survey", modules=[], ready="x", look_only=False)


def test_a_bug_of_the_keeper_keeps_its_traceback(keeper):
    with pytest.raises(conversation.RunnerBug, match="KeyError: 'nonsense'"):
        keeper.ask("nonsense")


# ------------------------------------------------------------------------------------ packages


@pytest.mark.parametrize(
    ("pip", "is_ready"), [("exit 1", True), ("kill -9 $$", False)], ids=["failed", "killed"]
)
def test_an_environment_is_not_ready_while_pip_changes_it(tmp_path, pip, is_ready):
    ready = tmp_path / "venv" / "ready"
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    ready.write_text("{}")
    python.write_text(f"#!/bin/sh\ntest -e {ready} || echo unmarked\n{pip}\n")
    python.chmod(0o755)
    job = {"venv": str(python.parents[1]), "ready": "ready", "packages": ["x"], "token": "t"}
    with subprocess.Popen(
        [sys.executable, str(HERE / "remote_setup.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as setup:  # fmt: skip
        setup.stdin.write(json.dumps(job) + "\n")
        setup.stdin.flush()
        told = setup.stdout.read()
    assert '"text": "unmarked"' in told
    assert '"error"' in told
    assert ready.exists() == is_ready


@pytest.mark.parametrize(
    ("arch", "bits", "version", "runtime", "packages"),
    [
        ("aarch64", 64, "3.11.2", "litert", ("numpy", "ai-edge-litert")),
        ("armv7l", 32, "3.9.2", "litert", ("numpy<2", "tflite-runtime==2.14.0")),
        ("aarch64", 32, "3.11.2", "litert", ("numpy<2", "tflite-runtime==2.14.0")),
        ("x86_64", 64, "3.13.0", "openvino", ("numpy", "openvino")),
    ],
)
def test_packages_are_those_that_are_published_for_a_device(arch, bits, version, runtime, packages):
    facts = {"arch": arch, "bits": bits, "version": version}
    assert ssh_setup._packages("ssh://board", runtime, facts) == packages


@pytest.mark.parametrize(
    ("arch", "bits", "version", "runtime", "words"),
    [
        (
            "armv7l",
            32,
            "3.11.2",
            "openvino",
            "no openvino is published for it; for armv7l there is",
        ),
        ("riscv64", 64, "3.11.2", "litert", "no litert is published for it; none is"),
        ("armv7l", 32, "3.13.5", "litert", "takes 3.9 to 3.11"),
    ],
)
def test_a_device_for_which_nothing_is_published_is_told_so(arch, bits, version, runtime, words):
    with pytest.raises(DeviceError, match=words):
        ssh_setup._packages("ssh://b", runtime, {"arch": arch, "bits": bits, "version": version})
