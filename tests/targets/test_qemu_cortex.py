"""Emulated Cortex-M boards: answers, memory and instructions of C whose numbers are known.

The C here is written by hand, so that each figure has another source than the code under test.
Needs the Debian packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import DataError, DeviceError, ModelError, UsageError
from edgekit.targets import cortex_building, cortex_tools, qemu, qemu_cortex

needs_boards = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="arm-none-eabi-gcc and qemu-system-arm are not installed",
)
ONE = "int m_invoke(const int8_t *in, int8_t *out)"
COPY = f"{ONE} {{ out[0] = in[0]; return 0; }}"
LOOP = f"""__attribute__((naked)) {ONE}
{{
    __asm__("ldr r0, =LOOPS\\n 1: subs r0, #1\\n bne 1b\\n bx lr\\n .ltorg\\n");
}}"""
STACK = f"""{ONE}
{{
    volatile int8_t kept[1000];
    int i;
    for (i = 0; i < 1000; ++i) {{ kept[i] = in[0]; }}
    out[0] = kept[999];
    return 0;
}}"""


def tensor(name, shape, scale=0.5, zero_point=0):
    return {
        "name": name, "shape": shape, "dtype": "int8", "scale": scale, "zero_point": zero_point,
    }  # fmt: skip


def job(directory, source, kind="describe", inputs=None, outputs=None, **more):
    """A job for C of one function; its header declares what the source defines."""
    declared = re.search(r"int m_invoke\([^)]*\)", source)
    (directory / "m.h").write_text(f"#include <stdint.h>\n{declared[0] if declared else ''};\n")
    (directory / "m.c").write_text(f'#include "m.h"\n{source}\n')
    return {
        "kind": kind, "runtime": "c",
        "artifact": str(directory / "m.h"), "siblings": ["m.h", "m.c"],
        "threads": 1, "options": {}, "seed": 0, "inputs": inputs or [tensor("in", [1, 1])],
        "outputs": outputs or [tensor("out", [1, 1])], **more,
    }  # fmt: skip


def nothing(_frame):
    """What becomes of frames that a test does not look at."""


def described(directory, source, cpu="cortex-m3", **more):
    frames = {}
    device = qemu.open(f"qemu://{cpu}")
    device.run(job(directory, source, **more), lambda frame: frames.update({frame["frame"]: frame}))
    return frames


def emulators():
    """Process ids of emulators that this process started; others may run tests beside it."""
    threads = Path("/proc/self/task").glob("*/children")
    children = [pid for thread in threads for pid in thread.read_text().split()]
    return [pid for pid in children if b"qemu-system-arm" in command_line(pid)]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@needs_boards
@pytest.mark.parametrize("cpu", qemu_cortex.NAMES)
def test_a_known_loop_has_exactly_its_instructions_on_every_board(cpu, tmp_path):
    # one load, two for each turn, one return; five million turns let the counter overflow often
    for turns in (100, 5_000_000):
        found = described(tmp_path, LOOP.replace("LOOPS", str(turns)), cpu)
        assert found["instructions"]["per_inference"] == 2 + 2 * turns


@needs_boards
def test_the_same_artifact_has_the_same_figures_every_time(tmp_path):
    first, second = (described(tmp_path, STACK, "cortex-m7") for _ in range(2))
    assert first == second
    assert first["instructions"]["per_inference"] > 3000, "a thousand stores in a loop"


@needs_boards
def test_memory_is_what_the_elf_file_has_of_the_model_and_of_nothing_else(tmp_path):
    source = f"""static const int8_t weights[3000] = {{1, 2, 3}};
    static int8_t arena[512];
    {ONE}
    {{
        arena[in[0] & 511] = weights[in[0]];
        out[0] = arena[5];
        return 0;
    }}"""
    found = described(tmp_path, source)["footprint"]
    assert found["ram_bytes"] == 512
    assert 3000 < found["flash_bytes"] < 3100
    assert found["buffer_bytes"] == 2
    assert re.fullmatch(r"arm-none-eabi-gcc \d+\.\d+\.\d+ -O2", found["compiler"])


@needs_boards
def test_library_code_that_the_model_needs_counts_as_flash(tmp_path):
    alone = f"{ONE} {{ return (int)(in - out); }}"
    copying = (
        "#include <string.h>\n" + ONE + "{ memcpy(out, in, (unsigned)(out - in) & 1u); return 0; }"
    )
    without, needed = (described(tmp_path, text)["footprint"] for text in (alone, copying))
    assert needed["flash_bytes"] - without["flash_bytes"] > 20, "newlib's memcpy"


@needs_boards
def test_the_stack_of_a_known_array_is_seen(tmp_path):
    found = described(tmp_path, STACK)["footprint"]["stack_bytes"]
    assert 1000 <= found <= 1064


@needs_boards
@pytest.mark.parametrize(("size", "is_seen"), [(60_000, True), (80_000, False)])
def test_a_stack_that_is_deeper_than_what_is_looked_at_is_not_told(size, is_seen, tmp_path):
    found = described(tmp_path, STACK.replace("1000", str(size)).replace("999", "9"))
    stack_bytes = found["footprint"]["stack_bytes"]
    assert (size <= stack_bytes <= size + 64) if is_seen else stack_bytes is None


@needs_boards
@pytest.mark.parametrize("cpu", ["cortex-m3", "cortex-m55"])
def test_samples_go_in_as_integers_and_answers_come_out_as_floats(cpu, tmp_path):
    source = """int m_invoke(const int8_t *a, const int8_t *b, int8_t *sum, int8_t *last)
    {
        int i;
        for (i = 0; i < 3; ++i) { sum[i] = (int8_t)(a[i] + b[i]); }
        last[0] = b[2];
        return 0;
    }"""
    wanted = job(
        tmp_path, source, "predict",
        inputs=[tensor("a", [1, 3], 0.5, 1), tensor("b", [1, 3], 0.5, -1)],
        outputs=[tensor("sum", [1, 3], 0.5, 0), tensor("last", [1, 1], 0.25, -1)],
        samples=str(tmp_path / "samples"), results=str(tmp_path / "results"),
    )  # fmt: skip
    drawn = np.random.default_rng(0).integers(-20, 20, (2, 7, 3)) * np.float32(0.5)
    batches = [{"a": drawn[0, :4], "b": drawn[1, :4]}, {"a": drawn[0, 4:], "b": drawn[1, 4:]}]
    chunks.write(tmp_path / "samples", batches)
    qemu.open(f"qemu://{cpu}").run(wanted, nothing)
    found = list(chunks.read(tmp_path / "results"))
    assert [len(part["sum"]) for part in found] == [4, 3]
    np.testing.assert_array_equal(np.concatenate([p["sum"] for p in found]), drawn[0] + drawn[1])
    # last = b[2] as stored by one scale, read by another: (b/0.5 - 1 + 1) · 0.25
    np.testing.assert_array_equal(
        np.concatenate([p["last"] for p in found])[:, 0], drawn[1, :, 2] / 2
    )


@needs_boards
def test_samples_of_another_shape_are_the_datas_fault(tmp_path):
    chunks.write(tmp_path / "samples", [{"in": np.zeros((2, 5), np.float32)}])
    wanted = job(
        tmp_path, COPY, "predict",
        samples=str(tmp_path / "samples"), results=str(tmp_path / "results"),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"input 'in' takes samples of shape \[1\]"):
        qemu.open("qemu://cortex-m3").run(wanted, nothing)


@needs_boards
def test_a_model_that_does_not_fit_says_what_and_by_how_much(tmp_path):
    source = f"static volatile int8_t arena[5 << 20]; {ONE} {{ out[0] = arena[in[0]]; return 0; }}"
    with pytest.raises(DeviceError, match=r"m.c does not fit mps2-an500: its data need \d+ bytes"):
        described(tmp_path, source, "cortex-m7")


@needs_boards
def test_a_model_that_writes_over_everything_is_told_of(tmp_path):
    source = "#include <string.h>\n" + ONE + "{ memset(out, in[0], 1u << 22); return 0; }"
    with pytest.raises(DeviceError, match=r"m.c (damaged|failed|gave no sign)"):
        qemu.open("qemu://cortex-m3").run(job(tmp_path, source), nothing, silence_s=5)
    assert emulators() == []


@needs_boards
def test_a_fault_of_the_processor_ends_it_with_one_line(tmp_path):
    source = f"{ONE} {{ out[0] = *(volatile int8_t *)0xE8000000u; return in[0]; }}"
    with pytest.raises(DeviceError, match=r"m.c failed on the emulated board"):
        described(tmp_path, source)
    assert emulators() == []


@needs_boards
def test_a_model_that_never_returns_is_ended_and_leaves_no_emulator(tmp_path):
    source = f"{ONE} {{ for (;;) {{ out[0] = in[0]; }} }}"
    with pytest.raises(DeviceError, match=r"gave no sign for 0.5 s"):
        qemu.open("qemu://cortex-m3").run(job(tmp_path, source), nothing, silence_s=0.5)
    assert emulators() == []


@needs_boards
def test_c_that_does_not_compile_is_one_line_with_the_compilers_reason(tmp_path):
    with pytest.raises(ModelError, match=r"m.c does not compile for Arm Cortex-M3: .*error:"):
        described(tmp_path, f"{ONE} {{ return nonsense; }}")


@needs_boards
def test_the_probe_tells_the_board_and_nothing_of_this_machine():
    found = qemu.open("qemu://cortex-m55").probe()
    assert (found["arch"], found["cores"]) == ("armv8.1-m.main", 1)
    assert (found["governor"], found["load_1min"]) == (None, None)
    assert set(found["versions"]) == {"arm-none-eabi-gcc", "qemu-system-arm"}


@needs_boards
def test_what_is_no_c_is_refused_with_the_command_that_makes_it(tmp_path):
    wanted = {**job(tmp_path, COPY), "runtime": "litert", "artifact": "m.tflite"}
    with pytest.raises(ModelError, match=r"m.tflite is no C") as caught:
        qemu.open("qemu://cortex-m7").run(wanted, nothing)
    assert "--emit c -o m.h" in caught.value.fix


@needs_boards
def test_a_header_without_the_function_is_refused(tmp_path):
    wanted = job(tmp_path, COPY)
    (tmp_path / "m.h").write_text("/* nothing */\n")
    with pytest.raises(ModelError, match=r"m.h does not declare a NAME_invoke"):
        qemu.open("qemu://cortex-m7").run(wanted, nothing)


@needs_boards
def test_a_board_has_one_core(tmp_path):
    with pytest.raises(UsageError, match=r"--threads 2: an Arm Cortex-M7 has one core"):
        qemu.open("qemu://cortex-m7").run({**job(tmp_path, COPY), "threads": 2}, print)


@pytest.mark.parametrize("url", ["qemu://m7", "qemu://", "qemu://cortex-m0", "qemu://cortex-m7/x"])
def test_other_boards_are_refused_with_those_that_there_are(url):
    with pytest.raises(UsageError, match=r"known: .*qemu://cortex-m55"):
        qemu.open(url)


def test_missing_tools_are_one_line_with_the_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"needs arm-none-eabi-gcc.* not installed") as caught:
        qemu.open("qemu://cortex-m7")
    assert caught.value.fix == cortex_tools.INSTALL


@needs_boards
def test_a_compiler_without_newlib_names_the_package(monkeypatch, tmp_path):
    found = cortex_tools.run

    def without_library(command, directory, what):
        return found([one.replace("rdimon.specs", "nowhere/rdimon.specs") for one in command],
                     directory, what)  # fmt: skip

    monkeypatch.setattr(cortex_building.cortex_tools, "run", without_library)
    with pytest.raises(DeviceError, match=r"no C library here"):
        described(tmp_path, COPY)


@needs_boards
def test_a_compiler_that_hangs_is_ended(monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 100 & echo $! > started; wait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(cortex_tools, "LIMIT_S", 1.0)
    with pytest.raises(DeviceError, match=r"compiling m.c did not end within 1 s"):
        cortex_tools.run([str(slow)], tmp_path, "compiling m.c")
    child = (tmp_path / "started").read_text().strip()
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
