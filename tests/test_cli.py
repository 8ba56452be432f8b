"""The command line's promises: streams, one line per failure, exit codes, `--json`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from edgekit import cli, doctor, errors, hashing, schemas
from edgekit.interruption import TerminationSignal, signals_raise
from edgekit.types import DryRun, ErrorReport

Captured = pytest.CaptureFixture[str]
EDGEKIT = (sys.executable, "-m", "edgekit")


def run(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    return subprocess.run(
        [*EDGEKIT, *arguments], text=True, capture_output=True, check=False, **settings
    )


def one_error(stderr: str) -> str:
    """The message; asserts that the whole of stderr is that one line."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    return lines[0]


# ------------------------------------------------------------------------- wrong command lines

WRONG = [
    (["nonsense"], ["no command 'nonsense'", "inspect, compress, convert, bench", "--help"]),
    (["convrt"], ["no command 'convrt'", "did you mean edgekit convert?"]),
    (["-v"], ["edgekit has no option -v", "edgekit COMMAND -v"]),
    (["profiles", "lst"], ["no command 'lst'", "did you mean edgekit profiles list?"]),
    (["doctor", "--jsn"], ["edgekit doctor has no option --jsn", "did you mean --json?"]),
    (["doctor", "--zzz"], ["no option --zzz", "edgekit doctor --help"]),
    (["doctor", "extra"], ["unexpected extra argument (extra)", "edgekit doctor --help"]),
    (["doctor", "--seed"], ["'--seed' requires an argument", "edgekit doctor --help"]),
    (["doctor", "--seed", "x"], ["'--seed'", "'x'"]),
    (["doctor", "--seed", "-1"], ["'--seed'", "-1", "0<=x<=4294967295"]),
    (["convert"], ["missing argument 'MODEL'"]),
    (["convert", "m.keras"], ["missing option '-o' / '--output'"]),
    (["convert", "m", "-o", "o", "--precision", "int9"], ["'int9'", "'fp16'", "'int4-weight'"]),
    (["convert", "m", "-o", "o", "--input-type", "int4"], ["'int4'", "'float32'", "'uint8'"]),
    (["convert", "m", "-o", "o", "--max-drop", "1"], ["'--max-drop'", "0.01 or 1%"]),
    (["convert", "m", "-o", "o", "--max-drop", "nan"], ["'nan'", "percentage"]),
    (["convert", "m", "-o", "o", "--max-drop", "-1%"], ["-1%", "outside 0 to 1"]),
    (["convert", "m", "-o", "o", "--batch", "0"], ["'0'", "A..B", "dynamic"]),
    (["convert", "m", "-o", "o", "--batch", "8..2"], ["8..2", "does not rise"]),
    (["convert", "", "-o", "o"], ["'MODEL'", "it is empty"]),
    (["bench"], ["missing argument 'ARTIFACT…'"]),
    (["bench", "m", "--threads", "0"], ["'--threads'", "0", "x>=1"]),
    (["bench", "m", "--budget", "inf"], ["'--budget'", "'inf'", "above 0"]),
    (["bench", "m", "--budget", "-3"], ["'--budget'", "'-3'"]),
    (["check"], ["missing argument 'RESULT…'"]),
    (["check", "r", "--max-drop", "200%"], ["'--max-drop'", "0.01 or 1%"]),
    (["check", "r", "--max-size-bytes", "0"], ["'--max-size-bytes'", "x>=1"]),
    (["check", "r", "--max-latency-ms", "0"], ["'--max-latency-ms'", "above 0, such as 12.5"]),
    (["check", "r", "--tolerance", "x"], ["'--tolerance'", "percentage"]),
    (["baseline", "update"], ["missing argument 'RESULT…'"]),
    (["profiles", "show"], ["missing argument 'NAME'"]),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_a_wrong_command_line_is_one_line_and_exit_2(
    capsys: Captured, arguments: list[str], told: list[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    message = one_error(printed.err)
    assert printed.out == ""
    assert ". Fix: " in message
    for part in told:
        assert part in message


@pytest.mark.parametrize("arguments", [case[0] for case in WRONG])
def test_a_wrong_command_line_with_json_is_a_report_on_stdout(
    capsys: Captured, arguments: list[str]
) -> None:
    assert cli.main([*arguments[:1], "--json", *arguments[1:]]) == 2
    printed = capsys.readouterr()
    report = msgspec.json.decode(printed.out, type=ErrorReport)
    assert report.error.code == 2
    assert report.error.kind == "UsageError"
    assert report.error.message
    assert f"error: {report.error.message}. Fix: {report.error.fix}\n" == printed.err


@pytest.mark.parametrize("arguments", [[], ["profiles"]])
def test_no_command_prints_the_help_to_stderr_and_exits_2(
    capsys: Captured, arguments: list[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Commands:" in printed.err
    assert printed.err.splitlines()[-1].startswith("error: no command was named")


def test_json_after_two_dashes_is_an_argument_and_no_option(capsys: Captured) -> None:
    assert cli.main(["doctor", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_an_argument_that_is_not_utf8_is_refused() -> None:
    done = run("inspect", os.fsdecode(b"m\xff.tflite"))
    assert done.returncode == 2
    assert "m\\udcff.tflite" in one_error(done.stderr)


def test_control_characters_of_an_argument_do_not_reach_the_terminal(capsys: Captured) -> None:
    assert cli.main(["doctor", "\x1b[2Jgone"]) == 2
    message = capsys.readouterr().err
    assert "\x1b" not in message
    assert "[2Jgone" in message


# ------------------------------------------------------------------------------ help, version


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *cli.COMMANDS, "profiles list", "profiles show"])
def test_every_command_prints_its_help(capsys: Captured, command: str, flag: str) -> None:
    assert cli.main([*command.split(), flag]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Usage: edgekit {command}".rstrip())
    assert printed.err == ""


def test_the_help_lists_the_commands_in_the_order_of_the_work(capsys: Captured) -> None:
    cli.main(["--help"])
    listed = capsys.readouterr().out.partition("Commands:")[2]
    positions = [listed.index(f"\n  {name} ") for name in cli.COMMANDS]
    assert positions == sorted(positions)


def test_the_line_of_the_help_is_what_the_command_says_of_itself() -> None:
    context = click.Context(cli.root)
    for name, (_, _, line) in cli.COMMANDS.items():
        command = cli.root.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert len(line) < 55, "the help must fit 80 columns"


def test_common_options_stand_in_every_command() -> None:
    from edgekit import reference  # noqa: PLC0415

    for context in reference.contexts():
        if isinstance(context.command, click.Group):
            continue
        offered = {flag for option in context.command.params for flag in option.opts}
        lacking = {
            "--json", "-v", "-q", "--dry-run", "--force", "--seed", "--trust", "--rehash",
        } - offered  # fmt: skip
        assert not lacking, f"{context.command_path} lacks {lacking}"


def test_the_version_is_that_of_the_package(capsys: Captured) -> None:
    from importlib import metadata  # noqa: PLC0415

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgekit {metadata.version('edgekit')}\n"


# ----------------------------------------------------------------------------- what a stage does


def failing(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    """Makes the stage behind `edgekit doctor` fail."""

    def examine() -> None:
        raise raised

    monkeypatch.setattr(doctor, "examine", examine)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("bad", "good"), 2),
        (errors.ModelError("bad", "good"), 1),
        (errors.MissingExtra("bad", "good"), 1),
        (errors.ParityError("bad", "good"), 1),
        (errors.GateError("bad", "good"), 3),
        (errors.Interrupted("bad", "good"), 130),
        (errors.Terminated("bad", "good"), 143),
    ],
)
def test_each_error_has_its_exit_code_and_its_report(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, error: errors.EdgekitError, code: int
) -> None:
    failing(monkeypatch, error)
    assert cli.main(["doctor"]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: bad. Fix: good\n")
    assert cli.main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == {
        "schema": "edgekit.error/1",
        "error": {"code": code, "kind": type(error).__name__, "message": "bad", "fix": "good"},
    }


def test_an_error_without_a_fix_has_no_fix_in_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    failing(monkeypatch, errors.ModelError("it is broken."))
    cli.main(["doctor"])
    assert capsys.readouterr().err == "error: it is broken\n"


@pytest.mark.parametrize("flags", [["-v"], ["--verbose"]])
def test_verbose_alone_shows_no_traceback_behind_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, flags: list[str]
) -> None:
    failing(monkeypatch, errors.ModelError("bad", "good"))
    assert cli.main(["doctor", *flags]) == 1
    assert one_error(capsys.readouterr().err) == "error: bad. Fix: good"


@pytest.mark.parametrize("flags", [["-vv"], ["-v", "--verbose"], ["-vvv"]])
def test_twice_verbose_shows_the_traceback_behind_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, flags: list[str]
) -> None:
    failing(monkeypatch, errors.ModelError("bad", "good"))
    assert cli.main(["doctor", *flags]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert printed.endswith("error: bad. Fix: good\n")


@pytest.mark.parametrize("raised", [ValueError("two\nlines"), SystemExit(0), AssertionError()])
def test_anything_else_is_a_bug_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, raised: BaseException
) -> None:
    failing(monkeypatch, raised)
    assert cli.main(["doctor", "--json"]) == 70
    printed = capsys.readouterr()
    body = json.loads(printed.out)["error"]
    assert (body["code"], body["kind"]) == (70, type(raised).__name__)
    assert "raise raised" in printed.err, "the traceback"
    assert "this is a bug in edgekit" in printed.err.splitlines()[-1]


def test_quiet_and_verbose_leave_the_result_alone() -> None:
    plain, quiet, loud = (run("profiles", "list", *flag) for flag in ([], ["-q"], ["-vv"]))
    assert plain.stdout == quiet.stdout == loud.stdout
    assert quiet.stderr == ""


def test_rehash_forgets_what_was_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    large = tmp_path / "large"
    large.write_bytes(bytes(hashing.REMEMBERED_FROM_BYTES))
    hashing.sha256_file(large)
    assert list(tmp_path.glob("edgekit/hashes/*"))
    assert cli.main(["profiles", "list", "--rehash", "-q"]) == 0
    assert not list(tmp_path.glob("edgekit/hashes/*"))
    capsys.readouterr()


@pytest.mark.parametrize("command", ["demo", "bench"])
def test_dry_run_writes_nothing_and_says_what_would_be_written(
    tmp_path: Path, capsys: Captured, command: str
) -> None:
    (tmp_path / "m.tflite").write_bytes(b"not looked into")
    output = tmp_path / ("demo" if command == "demo" else "m.result.json")
    artifacts = [str(tmp_path / "m.tflite")] if command == "bench" else []
    line = [command, *artifacts, "-o", str(output), "--dry-run"]
    assert cli.main([*line, "--json"]) == 0
    plan = msgspec.json.decode(capsys.readouterr().out, type=DryRun)
    assert all(path.startswith(str(output)) for path in plan.writes)
    assert plan.writes
    assert cli.main(line) == 0
    assert "would write" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["bench", "nothing.tflite"], 1, "nothing.tflite does not exist"),
        (
            ["bench", "m.tflite", "--device", "foo"],
            1,
            "unknown device 'foo'; known: adb, local, qemu, ssh",
        ),
        (["bench", "m.tflite", "--metric", "top1"], 2, "--metric top1 was given without --data"),
        (
            ["bench", "m.tflite", "--preprocess", "unit", "--dry-run"],
            2,
            "--preprocess unit was given without --data",
        ),
        (["convert", "no.keras", "-o", "o.tflite"], 1, "no.keras"),
        (["convert", "no.keras", "--target", "toaster", "-o", "o.tflite"], 1, "named 'toaster'"),
        (
            ["convert", "m", "--target", "nvidia-t4", "-o", "o.plan"],
            2,
            "-o o.plan does not end in .onnx, as tensorrt artifacts do",
        ),
        (["convert", "m", "--precision", "int8", "-o", "o.tflite"], 2, "--data was not given"),
        (["convert", "m", "-o", "o.xml"], 2, "does not end in .tflite"),
        (["profiles", "show", "raspberry"], 1, "did you mean"),
        (["profiles", "show", "no/such.toml"], 1, "no/such.toml"),
        (["check", "gone.json", "--max-drop", "1%"], 1, "there is no gone.json"),
        (["check", "m.tflite", "--max-drop", "1%"], 1, "m.tflite has no manifest"),
        (["check", "m.tflite"], 1, "nothing says what is allowed"),
        (["baseline", "update", "m.tflite", "-o", "b.json"], 1, "m.tflite has no manifest"),
        (["schema", "manfest"], 2, "did you mean manifest?"),
        (["inspect", "no.keras"], 1, "no.keras"),
        (["inspect", "no.keras", "--target", "toaster"], 1, "toaster"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_a_stage_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Captured,
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(b"not looked into")
    assert cli.main([*arguments, "-q"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in one_error(printed.err)
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_is_printed_and_named(capsys: Captured, name: str) -> None:
    assert cli.main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == f"edgekit {name}"
    assert cli.main(["schema", "--json"]) == 0
    assert name in json.loads(capsys.readouterr().out)["names"]


# -------------------------------------------------------------------------------------- streams


def test_a_reader_that_left_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*EDGEKIT, "doctor", "--json"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_to_a_reader_that_left_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*EDGEKIT, "convert", "--help"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_disk_behind_stdout_is_one_line(flags: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*EDGEKIT, "doctor", *flags],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in one_error(done.stderr)


def test_a_closed_stdout_is_one_line() -> None:
    done = run("doctor", preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert "stdout is closed" in one_error(done.stderr)


def test_a_closed_stderr_does_not_stop_the_work() -> None:
    done = run("profiles", "list", preexec_fn=lambda: os.close(2))
    assert done.returncode == 0
    assert "name" in done.stdout


def test_a_terminal_that_is_not_utf8_still_gets_the_result() -> None:
    done = run("doctor", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "---+---" in done.stdout, "lines are drawn in what the terminal has"


def test_without_a_terminal_there_are_no_colours_and_no_more_than_100_columns() -> None:
    done = run("doctor", env={**os.environ, "COLUMNS": "300", "FORCE_COLOR": "1"})
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


# -------------------------------------------------------------------------------------- signals

WAITING = """
import pathlib, sys, time
import click
from edgekit import cli, files
from edgekit.workers import Worker

@click.command("wait")
@click.option("--json", is_flag=True)
def wait(json):
    out = pathlib.Path("out") / "m.tflite"
    with files.staging(out) as staged, Worker("builtins:dict", "x") as w:
        (staged / "half").write_text("half")
        print(w.pid(), file=sys.stderr, flush=True)
        time.sleep(60)

sys.modules["waiting"] = sys.modules["__main__"]
cli.COMMANDS["wait"] = ("waiting", "wait", "waits")
sys.exit(cli.main(["wait", "--json"]))
"""


@pytest.mark.parametrize(
    ("sent", "code", "kind"),
    [
        (signal.SIGINT, 130, "Interrupted"),
        (signal.SIGTERM, 143, "Terminated"),
        (signal.SIGHUP, 143, "Terminated"),
    ],
)
def test_a_signal_leaves_no_process_and_no_staging_directory(
    tmp_path: Path, sent: signal.Signals, code: int, kind: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        worker = int(process.stderr.readline())
        assert len(list((tmp_path / "out").iterdir())) == 1
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    body = json.loads(out)["error"]
    assert (body["code"], body["kind"]) == (code, kind)
    assert "no half-written output is left" in one_error(err)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def raised_by(send: Callable[[], None]) -> type[BaseException] | None:
    try:
        with signals_raise():
            send()
    except BaseException as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("sent", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminationSignal)],
)
def test_no_except_exception_can_swallow_a_signal(
    sent: signal.Signals, raised: type[BaseException]
) -> None:
    assert raised_by(lambda: signal.raise_signal(sent)) is raised
    assert not issubclass(raised, Exception)


def test_a_second_ctrl_c_does_not_stop_the_cleaning() -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    assert raised_by(work) is KeyboardInterrupt
    assert cleaned == [True]


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert raised_by(lambda: signal.raise_signal(signal.SIGHUP)) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_of_the_caller_come_back() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with signals_raise():
        pass
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_main_works_outside_the_main_thread(capsys: Captured) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]
    capsys.readouterr()
