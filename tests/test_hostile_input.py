"""Hostile input through the real command line: one line, the right code, a fix, nothing left.

Most cases run in this process, since no framework is needed to refuse them; what depends on the
process itself (signals, mounts, missing packages, a reader that leaves) runs in one of its own.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from resource import getpagesize
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from edgekit import cli, errors, loading, manifest
from edgekit.workers import Worker


def _neighbour(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        Path(name).stem, Path(__file__).with_name("targets").parent / name
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files = _neighbour("hostile_files.py")
tiny = _neighbour("targets/tiny_models.py")

Captured = pytest.CaptureFixture[str]
EDGEKIT = (sys.executable, "-m", "edgekit")
MARK = "EDGEKIT_TEST_MARK"
MADE_HERE: dict[str, Callable[[Path], Path]] = {
    "dense.tflite": tiny.dense_tflite,
    "dense.onnx": tiny.dense_onnx,
    "image.tflite": tiny.image_tflite,
}
MADE_BY_KERAS = (
    "plain.keras", "plain.h5", "legacy.h5", "saved", "reads", "custom.keras", "lambda.keras",
    "lambda.h5", "nested.keras", "nested.h5", "wrapped.keras",
)  # fmt: skip


# ------------------------------------------------------------------------------------- the place


@pytest.fixture(scope="session")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `hostile_models.py` writes: harmless models, and models that carry code."""
    directory = tmp_path_factory.mktemp("hostile")
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    script = Path(__file__).with_name("hostile_models.py")
    done = subprocess.run(
        [sys.executable, script, directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return directory


class Place:
    """A working directory that has to look the same after a command that failed."""

    def __init__(self, root: Path, request: pytest.FixtureRequest, captured: Captured) -> None:
        self.folder, self.temporary = root / "work", root / "tmp"
        self.folder.mkdir()
        self.temporary.mkdir()
        self.absolute = False
        self._request, self._captured = request, captured

    def add(self, line: str) -> None:
        """Makes or copies the models that a command line names."""
        for word in shlex.split(line):
            if word in MADE_HERE:
                MADE_HERE[word](self.folder / word)
            elif word in MADE_BY_KERAS:
                files.copied(self._request.getfixturevalue("keras_models") / word, self.folder)

    def run(self, line: str) -> tuple[int, str, str]:
        """Runs a command line in this process: exit code, stdout, stderr."""
        words = shlex.split(line)
        if self.absolute:
            words = [str(self.folder / word) if self._has(word) else word for word in words]
        code = cli.main([*words, "-q"])
        printed = self._captured.readouterr()
        return code, printed.out, printed.err

    def _has(self, word: str) -> bool:
        return word in os.listdir(self.folder)

    def refuse(self, line: str, code: int, *told: str) -> None:
        """Runs a command that has to fail, and to leave no trace."""
        before = listing(self.folder)
        found, out, err = self.run(line)
        assert (found, out) == (code, ""), err
        check_line(err, *told)
        assert listing(self.folder) == before
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capfd: Captured,
) -> Iterator[Place]:
    """A working directory of its own; no process that was started in it may be left."""
    found = Place(tmp_path, request, capfd)
    monkeypatch.chdir(found.folder)
    monkeypatch.setattr(tempfile, "tempdir", str(found.temporary))
    for name, value in {
        "TMPDIR": str(found.temporary),
        "EDGEKIT_CACHE": str(tmp_path / "cache"),
        MARK: str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)  # edgekit has to set it
    yield found
    deadline = time.monotonic() + 10  # a child that a signal met while it started ends by itself
    while processes(str(tmp_path)) and time.monotonic() < deadline:
        pass
    assert processes(str(tmp_path)) == []


def listing(folder: Path) -> dict[str, bytes | None]:
    """Everything in a directory, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def check_line(err: str, *told: str) -> None:
    """stderr is one line that names the error and a fix."""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: "), err
    assert ". Fix: " in err, err
    assert "Traceback" not in err
    for part in told:
        assert part in err


def processes(mark: str) -> list[str]:
    """The processes that were started with this mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text())
        except OSError:  # it has ended, is none of ours, or is no process
            continue
    return [one for one in found if one]  # a zombie has no command line


class Case(NamedTuple):
    """A hostile file, the command line that meets it, and what has to be told."""

    make: files.Make
    line: str
    told: tuple[str, ...]
    code: int = 1


def meet(place: Place, case: Case) -> None:
    place.add(case.line)
    case.make(place.folder)
    place.refuse(case.line, case.code, *case.told)


def each(cases: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


class Kept:
    """Stands where a Worker is opened, and hands out one that was started before."""

    workers: ClassVar[dict[str, Worker]] = {}

    def __init__(
        self,
        reference: str,
        what: str,
        limit_s: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        del environment  # of a worker that trains, and none of these does
        self._start = (reference, what, limit_s)

    def __enter__(self) -> Worker:
        reference, what, limit_s = self._start
        if reference not in self.workers:
            self.workers[reference] = Worker(reference, what, limit_s or 60)
        return self.workers[reference]

    def __exit__(self, kind: object, raised: object, trace: object) -> None:
        crashed = isinstance(raised, errors.ConversionError)
        if crashed or (kind and not isinstance(raised, errors.EdgekitError)):
            self.workers.pop(self._start[0]).close()


@pytest.fixture(scope="module")
def kept() -> Iterator[type[Kept]]:
    """Workers that stay: TensorFlow is imported once for all that need it."""
    yield Kept
    for worker in Kept.workers.values():
        worker.close()
    Kept.workers.clear()


@pytest.fixture
def quick(place: Place, kept: type[Kept], monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens models in workers that stay, and that were started in some other directory."""
    place.absolute = True
    monkeypatch.setattr(loading, "Worker", kept)
    monkeypatch.setattr(loading, "HDF5_LIMIT_S", 3.0)
    monkeypatch.delenv(MARK, raising=False)


# ---------------------------------------------------------------------------------- model files

SUFFIXED = ("plain.keras", "plain.h5", "legacy.h5", "dense.tflite", "dense.onnx")
DAMAGED = {
    **{
        f"{name} cut to {share:.0%}": Case(files.cut(name, share), f"inspect {name}", (name, told))
        for name in SUFFIXED
        for share, told in ((0, "is empty"), (0.1, "damaged"), (0.5, "damaged"), (1, "damaged"))
    },
    **{
        f"SavedModel cut to {share:.0%}": Case(
            files.cut("saved/saved_model.pb", share), "inspect saved", ("saved_model.pb", told)
        )
        for share, told in ((0, "is empty"), (0.5, "damaged"), (1, "damaged"))
    },
    **{
        f"bit {seed} of {entry}": Case(
            files.flip_in_entry("plain.keras", entry, seed), "inspect plain.keras", (entry,)
        )
        for seed, entry in enumerate(["config.json", "config.json", *["model.weights.h5"] * 3])
    },
    "zip magic": Case(files.flip("plain.keras", 0), "inspect plain.keras", ("it begins with",)),
    "HDF5 magic": Case(files.flip("legacy.h5", 1), "inspect legacy.h5", ("it begins with",)),
    "config of an h5": Case(
        files.replaced("legacy.h5", b'"Sequential"', b'"Sequential['),
        "inspect legacy.h5",
        ("model_config is damaged",),
    ),
    "TFL3": Case(files.flip("dense.tflite", 4), "inspect dense.tflite", ("it begins with",)),
    "root table": Case(files.flip("dense.tflite", 1), "inspect dense.tflite", ("outside",)),
    "tensor of 8 GB": Case(
        files.tflite("dense.tflite", files.input_rows(1 << 29)),
        "inspect dense.tflite",
        ("needs over 2 GiB",),
    ),
    "ONNX tag": Case(files.flip("dense.onnx", 0), "inspect dense.onnx", ("damaged",)),
    "pb tag": Case(files.flip("saved/saved_model.pb", 2, 0), "inspect saved", ("damaged",)),
}


@each(DAMAGED)
@pytest.mark.usefixtures("quick")
def test_a_damaged_model_is_refused(place: Place, case: Case) -> None:
    meet(place, case)


def test_an_h5_that_the_hdf5_library_reads_for_ever_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "HDF5_LIMIT_S", 2.0)
    place.add("legacy.h5")
    files.hdf5_heap_without_end("legacy.h5")(place.folder)
    place.refuse("inspect legacy.h5", 1, "damaged: the HDF5 library did not end within 2 s")


CODE = {
    f"{command} {name}": Case(files.nothing, f"{command} {name} {rest}", ("'payload' (Lambda)",))
    for name in ("lambda.keras", "lambda.h5", "nested.keras", "nested.h5", "wrapped.keras")
    for command, rest in (("inspect", ""), ("convert", "-o o.tflite"))
}


@each(CODE)
@pytest.mark.usefixtures("quick")
def test_code_in_a_model_is_not_run(place: Place, keras_models: Path, case: Case) -> None:
    dangerous = (keras_models / "ran.txt").read_text().split()
    assert case.line.split()[1] in dangerous, "loaded without edgekit, it runs"
    meet(place, case)
    assert list(keras_models.glob("RAN-*")) == []


FOREIGN = {
    "unregistered class": Case(
        files.nothing, "inspect custom.keras", ("layer 'twice' (Doubler)", "not a part of Keras")
    ),
    "SavedModel that reads a file": Case(files.nothing, "inspect reads", ("ReadFile",)),
    "pickle in a .keras": Case(
        files.with_entry("plain.keras", "assets/data.bin", b"\x80\x04\x95payload"),
        "inspect plain.keras",
        ("'assets/data.bin' is a pickle",),
    ),
    "config that names a function of os": Case(
        files.with_config(
            "plain.keras", '{"class_name": "function", "config": "system", "module": "os"}'
        ),
        "inspect plain.keras",
        ("'system' of os",),
    ),
    **{
        f"zip entry {entry}": Case(
            files.with_entry("plain.keras", entry, b"x"),
            "convert plain.keras -o o.tflite",
            ("points outside",),
        )
        for entry in ("../evil", "/etc/evil", "assets/../../evil", "..\\evil")
    },
    "zip bomb": Case(
        files.with_declared_size("plain.keras", "bomb", files.HUGE),
        "inspect plain.keras",
        ("would unpack to 1,099,5",),
    ),
    "config nested without end": Case(
        files.with_config("plain.keras", "[" * 100_000),
        "inspect plain.keras",
        ("config.json is damaged",),
    ),
    "zip without config.json": Case(
        files.rewritten("plain.keras", {"config.json": None}),
        "inspect plain.keras",
        ("without config.json",),
    ),
    "h5 that reads another file": Case(
        files.hdf5("plain.h5", files.external_link),
        "inspect plain.h5",
        ("takes its data from another file (/etc/hostname)",),
    ),
    "h5 without a model": Case(
        files.hdf5("plain.h5", lambda stored: stored.attrs.pop("model_config")),
        "inspect plain.h5",
        ("holds weights only",),
    ),
    "TensorFlow operator": Case(
        files.tflite("dense.tflite", files.custom_operator("FlexErf")),
        "inspect dense.tflite",
        ("FlexErf", "without SELECT_TF_OPS"),
    ),
    "unknown operator": Case(
        files.tflite("dense.tflite", files.custom_operator("Mystery")),
        "convert dense.tflite --precision fp16 -o o.tflite",
        ("Mystery",),
    ),
    "weights that are NaN": Case(
        files.tflite("dense.tflite", files.constant(np.nan)),
        "convert dense.tflite --precision fp16 -o o.tflite",
        ("the output out is NaN or infinite for 8 of 8 samples",),
    ),
    "weights outside the model's directory": Case(
        files.onnx_weights_at("dense.onnx", "../../etc/passwd"),
        "inspect dense.onnx",
        ("'../../etc/passwd', outside the model's directory",),
    ),
    "weights that are missing": Case(
        files.onnx_weights_at("dense.onnx", "gone.bin"), "inspect dense.onnx", ("gone.bin",)
    ),
    "pickle called .keras": Case(
        files.binary("m.keras", b"\x80\x04\x95payload"), "inspect m.keras", ("a Python pickle",)
    ),
    "web page called .h5": Case(
        files.text("m.h5", "<!DOCTYPE html>"), "inspect m.h5", ("a web page",)
    ),
    "LFS pointer": Case(
        files.text("m.onnx", "version https://git-lfs.github.com/spec/v1\n"),
        "inspect m.onnx",
        ("git lfs pull",),
    ),
    "empty directory": Case(files.directory("m"), "inspect m", ("is an empty directory",)),
    "pipe": Case(files.pipe("m.keras"), "inspect m.keras", ("neither a file nor a directory",)),
    "missing model": Case(files.nothing, "inspect m.keras", ("there is no m.keras",)),
    "name too long": Case(files.nothing, f"inspect {'m' * 300}", ("File name too long",)),
}


@each(FOREIGN)
@pytest.mark.usefixtures("quick")
def test_a_model_that_lies_or_reaches_out_is_refused(place: Place, case: Case) -> None:
    meet(place, case)


TOO_LATE = {
    "weights of another shape": Case(
        files.with_other_units("plain.keras", 3, 5), "inspect plain.keras", ("Keras cannot load",)
    ),
    "no weights": Case(
        files.rewritten("plain.keras", {"model.weights.h5": None}),
        "inspect plain.keras",
        ("Keras cannot load",),
    ),
    "a layer, not a model": Case(
        files.with_config(
            "plain.keras",
            '{"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}',
        ),
        "inspect plain.keras",
        ("the model (Dense) has no fixed inputs",),
    ),
    "an empty config": Case(
        files.with_config("plain.keras", "{}"), "inspect plain.keras", ("Keras cannot load",)
    ),
    "h5 without a layer's weights": Case(
        files.hdf5("legacy.h5", lambda stored: stored["model_weights"].pop("scores")),
        "inspect legacy.h5",
        ("Keras cannot load",),
    ),
    "SavedModel without variables": Case(
        files.removed("saved/variables/variables.index"),
        "inspect saved",
        ("TensorFlow cannot load",),
    ),
    "SavedModel with half its variables": Case(
        files.cut("saved/variables/variables.data-00000-of-00001", 0.5),
        "convert saved -o o.tflite",
        ("TensorFlow cannot load",),
    ),
}


@each(TOO_LATE)
@pytest.mark.usefixtures("quick")
def test_what_only_the_loader_notices_is_one_line_too(place: Place, case: Case) -> None:
    meet(place, case)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", [*SUFFIXED, "saved"])
def test_no_flipped_bit_is_more_than_one_line(place: Place, name: str) -> None:
    place.add(name)
    whole = sorted(path for path in place.folder.rglob("*") if path.is_file())
    draw = random.Random(name)  # noqa: S311 no secret
    for _ in range(25):
        path = draw.choice(whole)
        content = path.read_bytes()
        files.flip(path.name, draw.randrange(len(content)), draw.randrange(8))(path.parent)
        code, _, err = place.run(f"inspect {name}")
        assert code in (0, 1), err
        if code:
            check_line(err)
        path.write_bytes(content)


# ----------------------------------------------------------------------------------------- data

TO_INT8 = "convert dense.tflite --precision int8 --data d.npz -o o.tflite"
SAMPLES = {
    "NaN": Case(files.samples(x_calib=files.spoilt(np.nan)), TO_INT8, ("x_calib holds NaN",)),
    "infinite": Case(files.samples(x_calib=files.spoilt(np.inf)), TO_INT8, ("NaN or infinite",)),
    "too large for float32": Case(
        files.samples(x_calib=files.spoilt(1e20).astype(np.float64) ** 2), TO_INT8, ("infinite",)
    ),
    "NaN in the test role": Case(
        files.samples(x_test=files.spoilt(np.nan)),
        f"{TO_INT8} --max-drop 5%",
        ("x_test holds NaN or infinite values in 1 of the 20 samples",),
    ),
    "wrong shape": Case(
        files.samples(x_calib=np.zeros((20, 5))), TO_INT8, ("x_calib has shape [20, 5]", "[n, 4]")
    ),
    "no sample": Case(files.samples(x_calib=np.zeros((0, 4))), TO_INT8, ("holds no samples",)),
    "wrong keys": Case(
        files.only_samples(samples=np.zeros((9, 4))), TO_INT8, ("it has: samples", "x_train")
    ),
    "fewer labels than samples": Case(
        files.samples(y_test=np.zeros(19, int)), TO_INT8, ("x_test 20, y_test 19",)
    ),
    "labels out of range": Case(
        files.samples(y_val=np.arange(20) % 3 + 1),
        f"{TO_INT8} --max-drop 5%",
        ("labels run from 1 to 3; the model has 3 classes", "subtract 1"),
    ),
    "labels that are text": Case(
        files.samples(y_val=np.full(20, "cat")),
        f"{TO_INT8} --max-drop 5%",
        ("y_val has dtype <U3",),
    ),
    "no labels": Case(
        files.samples(y_val=None), f"{TO_INT8} --max-drop 5%", ("labels for the val role", "y_val")
    ),
    "no test role": Case(
        files.samples(x_test=None, y_test=None),
        f"{TO_INT8} --max-drop 5%",
        ("d.npz has no test data",),
    ),
    "pickled objects": Case(
        files.samples(x_calib=np.array([{}, []], object)), TO_INT8, ("pickled Python objects",)
    ),
    "pickled labels": Case(
        files.samples(y_calib=np.array([None] * 20)), TO_INT8, ("pickled Python objects",)
    ),
    "truncated": Case(
        files.together(files.samples(), files.cut("d.npz", 0.5)), TO_INT8, ("truncated or damaged",)
    ),
    "flipped bit": Case(
        files.together(files.samples(), files.flip_in_entry("d.npz", "x_calib.npy", 1)),
        TO_INT8,
        ("d.npz is truncated or damaged",),
    ),
    "empty file": Case(files.text("d.npz", ""), TO_INT8, ("not a zip archive",)),
    "text": Case(files.text("d.npz", "1,2,3"), TO_INT8, ("not a zip archive",)),
    "pipe": Case(files.pipe("d.npz"), TO_INT8, ("neither a file nor a directory",)),
    "missing": Case(files.nothing, TO_INT8, ("d.npz does not exist",)),
    "empty folder": Case(files.directory("d.npz"), TO_INT8, ("d.npz is empty",)),
    "folder without classes": Case(
        files.text("imgs/a.png", "x"),
        "bench image.tflite --data imgs",
        ("imgs has no class directories",),
    ),
    "folder without images": Case(
        files.text("imgs/cat/notes.txt", "x"),
        "bench image.tflite --data imgs",
        ("imgs has no images",),
    ),
    "text called .png": Case(
        files.text("imgs/cat/a.png", "no picture"),
        "bench image.tflite --data imgs",
        ("imgs/cat/a.png",),
    ),
    "bench: wrong shape": Case(
        files.samples(x_test=np.zeros((20, 5))),
        "bench dense.tflite --data d.npz",
        ("x_test has shape [20, 5]",),
    ),
}


@each(SAMPLES)
@pytest.mark.usefixtures("quick")
def test_data_that_cannot_be_used_is_refused(place: Place, case: Case) -> None:
    meet(place, case)


BY_FUNCTION = "convert dense.tflite --precision int8 --data d.py:f -o o.tflite"
BY_METRIC = f"{TO_INT8} --max-drop 5% --metric d.py:f"
FUNCTIONS = {
    "raises": ("def f(role):\n    raise ValueError('boom')", "d.py:2 with ValueError: boom"),
    "raises later": (
        "def f(role):\n    yield [[0] * 4] * 9, None\n    1 / 0",
        "d.py:3 with ZeroDivisionError",
    ),
    "exits": ("def f(role):\n    raise SystemExit(0)", "SystemExit"),
    "is missing": ("def g(role):\n    pass", "d.py has no function 'f'; it defines: g"),
    "is a syntax error": ("def f(role:\n    pass", "d.py:1 with SyntaxError"),
    "imports what is not there": ("import no_such_package\nf = len", "no_such_package"),
    "takes nothing": ("def f():\n    pass", "TypeError"),
    "gives None": ("def f(role):\n    pass", "returned None for each of"),
    "gives a number": ("def f(role):\n    return 5", "returned int"),
    "gives no batch": ("def f(role):\n    return []", "gave no samples"),
    "gives samples of another shape": ("def f(role):\n    return [([[0]], None)]", "[1, 1]"),
    "gives NaN": (
        "def f(role):\n    return [([[float('nan')] * 4] * 9, None)]",
        "NaN or infinite",
    ),
    "never ends": (
        "import numpy\ndef f(role):\n    while True:\n        yield numpy.zeros((10**6, 4)), None",
        "let it end",
    ),
    "recurses": ("def f(role):\n    return f(role)", "RecursionError"),
}


@pytest.mark.parametrize(("code", "told"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.usefixtures("quick")
def test_a_data_function_that_misbehaves_is_one_line(place: Place, code: str, told: str) -> None:
    meet(place, Case(files.text("d.py", code), BY_FUNCTION, (told,)))


METRICS = {
    "raises": ("def f(x, y, out):\n    raise KeyError('k')", "d.py:2 with KeyError"),
    "gives None": ("def f(x, y, out):\n    pass", "returned 'None', not a finite number"),
    "gives NaN": ("def f(x, y, out):\n    return float('nan')", "returned 'nan'"),
    "is missing": ("g = len", "d.py has no function 'f'"),
    "has a group of no size": (
        "def f(x, y, out):\n    return 1.0\nf.group_size = 0",
        "group_size is 0",
    ),
}


@pytest.mark.parametrize(("code", "told"), METRICS.values(), ids=METRICS.keys())
@pytest.mark.usefixtures("quick")
def test_a_metric_that_misbehaves_is_one_line(place: Place, code: str, told: str) -> None:
    make = files.together(files.samples(), files.text("d.py", code))
    meet(place, Case(make, BY_METRIC, (told,)))


def test_what_a_data_function_prints_stays_out_of_the_result(place: Place) -> None:
    place.add("dense.tflite")
    prints = "import os\nprint('loaded')\ndef f(role):\n    os.system('echo from a child')\n"
    files.text("d.py", f"{prints}    return [([[0, 1, 2, 3]] * 9, None)]")(place.folder)
    code, out, err = place.run(f"{BY_FUNCTION} --json")
    assert code == 0, err
    assert json.loads(out)["schema"] == "edgekit.manifest/1"
    assert {"loaded", "from a child"} <= set(err.splitlines())


# ------------------------------------------------------------------- what the command line names

PLAIN = "convert dense.tflite --precision fp16 -o o.tflite"
BENCH = "bench dense.tflite"
NAMED = {
    "unknown target": Case(
        files.nothing, f"{PLAIN} --target raspbery-pi-4", ("did you mean raspberry-pi-4",)
    ),
    "profile that is missing": Case(
        files.nothing, f"{PLAIN} --target p.toml", ("the profile p.toml does not exist",)
    ),
    "profile with an unknown key": Case(
        files.text("p.toml", 'name = "p"\nextends = "host"\nhardwear = 1'),
        f"{PLAIN} --target p.toml",
        ("unknown key hardwear", "did you mean hardware?"),
    ),
    "profile with a wrong type": Case(
        files.text("p.toml", 'name = "p"\nextends = "host"\n[hardware]\ncores = "four"'),
        f"{PLAIN} --target p.toml",
        ("hardware.cores is 'four'", "a whole number"),
    ),
    "profile that is no TOML": Case(
        files.text("p.toml", "name = "), f"{PLAIN} --target p.toml", ("not valid TOML",)
    ),
    "profile that extends itself": Case(
        files.text("p.toml", 'name = "p"\nextends = "./p.toml"'),
        f"{PLAIN} --target p.toml",
        ("in a circle",),
    ),
    "precision that the target lacks": Case(
        files.nothing, f"{PLAIN} --target cortex-m7", ("cortex-m7 (tflm) does not run fp16",)
    ),
    "default precision without data": Case(
        files.nothing,
        "convert dense.tflite --target cortex-m7 -o o.tflite",
        ("takes int8 by default", "--data"),
    ),
    "TensorRT": Case(
        files.nothing,
        "convert dense.onnx --target jetson-orin-nano --batch dynamic -o o.onnx",
        ("dynamic has no end", "--batch A..B"),
    ),
    "Ethos-U": Case(
        files.nothing,
        f"{PLAIN} --target cortex-m55-ethos-u55-128",
        ("cortex-m55-ethos-u55-128 (ethos-u) does not run fp16", "--precision int8"),
    ),
    "onnx to tflite": Case(
        files.nothing,
        "convert dense.onnx -o o.tflite",
        ("a .onnx model cannot be converted to tflite", "--target host-openvino"),
    ),
    "batch of a .tflite": Case(files.nothing, f"{PLAIN} --batch 8", ("batch", "asked was 8")),
    "dynamic batch of a .tflite": Case(
        files.nothing, f"{PLAIN} --batch dynamic", ("batch", "asked was dynamic")
    ),
    "a manifest that is none": Case(
        files.text("dense.tflite.edgekit.json", "{}"), PLAIN, ("is no edgekit.manifest/1 file",)
    ),
    "bench a model": Case(
        files.text("m.keras", "x"), "bench m.keras", ("is a model, not an artifact", "convert")
    ),
    "bench a text": Case(files.text("m.txt", "x"), "bench m.txt", ("known: .onnx, .tflite",)),
    "bench nothing": Case(files.nothing, "bench m.tflite", ("m.tflite does not exist",)),
    "bench half an artifact": Case(
        files.cut("dense.tflite", 0.5), f"{BENCH} --budget 1", ("LiteRT cannot load",)
    ),
    "bench an empty artifact": Case(
        files.text("m.tflite", ""), "bench m.tflite --budget 1", ("LiteRT cannot load",)
    ),
    "bench half an .onnx": Case(
        files.cut("dense.onnx", 0.5), "bench dense.onnx --budget 1", ("ONNX Runtime cannot load",)
    ),
    "bench an .xml without weights": Case(files.text("m.xml", "<net/>"), "bench m.xml", ("m.bin",)),
    "bench half an .xml": Case(
        files.together(files.text("m.xml", "<net"), files.text("m.bin", "")),
        "bench m.xml --budget 1",
        ("OpenVINO cannot load",),
    ),
    "bench for another format": Case(
        files.nothing, f"{BENCH} --target host-openvino", ("takes openvino artifacts",)
    ),
    "device URL that would be an option of ssh": Case(
        files.nothing, f"{BENCH} --device ssh://-oProxyCommand=x", ("-oProxyCommand",), code=2
    ),
    "emulated device that there is none of": Case(
        files.nothing, f"{BENCH} --device qemu://cray", ("qemu://cray",), code=2
    ),
    "unknown kind of device": Case(
        files.nothing, f"{BENCH} --device pigeon://x", ("device 'pigeon'", "known: adb, local")
    ),
    **{
        line: Case(files.nothing, line, told, code=2)
        for line, told in {
            f"{PLAIN} --precision int9": ("'int9' is not one of 'fp32'",),
            f"{PLAIN} --precision int8": ("--data was not given", "int8-dynamic"),
            f"{PLAIN} --seed -1": ("--seed",),
            f"{PLAIN} --max-drop 150%": ("150% is outside 0 to 1",),
            f"{PLAIN} --max-drop 1%": ("--max-drop", "--data SPEC"),
            f"{PLAIN} --input-type int8": ("no integer activations",),
            f"{PLAIN} --batch 0": ("'0' is not a number from 1",),
            f"{PLAIN} --batch 1..16": ("only TensorRT engines take a range",),
            f"{TO_INT8} --preprocess signd": ("--preprocess 'signd'", "signed"),
            f"{PLAIN} --metric top0": ("--metric 'top0'", "top1"),
            f"{PLAIN} --target host-openvino": ("does not end in .xml", "-o o.xml"),
            f"{BENCH} --budget -1": ("--budget",),
            f"{BENCH} --threads 0": ("--threads",),
            f"{BENCH} --threads 100000": ("is not in 1 to 1024",),
            f"{BENCH} --metric top0": ("--metric 'top0'", "top1"),
            f"{BENCH} --preprocess signd": ("--preprocess 'signd'", "signed"),
            f"{BENCH} --device local://x": ("local takes nothing after it",),
        }.items()
    },
}


@each(NAMED)
def test_what_the_command_line_names_wrongly_is_refused(place: Place, case: Case) -> None:
    meet(place, case)


# ------------------------------------------------------------------------------ where output goes

TO = "convert dense.tflite --precision fp16 -o"
OUTPUTS = {
    "a file of the user's": Case(files.text("o.tflite", "mine"), PLAIN, ("--force",)),
    "a manifest of the user's": Case(
        files.text("o.tflite.edgekit.json", "mine"), PLAIN, ("o.tflite.edgekit.json exists",)
    ),
    "weights of the user's": Case(
        files.text("o.bin", "mine"),
        "convert dense.tflite --target host-openvino --precision fp32 -o o.xml",
        ("o.bin exists",),
    ),
    "a link to itself": Case(files.link("o.tflite", "o.tflite"), PLAIN, ("o.tflite",)),
    "a link to nothing": Case(files.link("o.tflite", "gone"), PLAIN, ("o.tflite exists",)),
    "the model itself": Case(files.nothing, f"{TO} dense.tflite", ("the model itself",), code=2),
    "a directory": Case(files.directory("o.tflite"), PLAIN, ("o.tflite is a directory",)),
    "a directory, by force": Case(
        files.directory("o.tflite"), f"{PLAIN} --force", ("o.tflite is a directory",)
    ),
    "a directory for the manifest": Case(
        files.directory("o.tflite.edgekit.json"), PLAIN, ("o.tflite.edgekit.json is a directory",)
    ),
    "here": Case(files.nothing, f"{TO} .", (". is a directory", "-o model.tflite")),
    "the root": Case(files.nothing, f"{TO} /", ("/ is a directory",)),
    "below a file": Case(
        files.text("f", ""), f"{TO} f/o.tflite", ("cannot write f/o.tflite: Not a directory",)
    ),
    "below a file, deeper": Case(files.text("f", ""), f"{TO} f/g/o.tflite", ("Not a directory",)),
    "a name that is too long": Case(
        files.nothing, f"{TO} {'x' * 250}.tflite", ("File name too long", "a shorter name")
    ),
    "new directories, and then a failure": Case(
        files.nothing, f"{TO} new/deep/o.tflite --batch 8", ("asked was 8",)
    ),
    "bench: a file of the user's": Case(
        files.text("r.json", "mine"), f"{BENCH} -o r.json", ("--force",)
    ),
    "bench: a directory": Case(
        files.directory("r.json"), f"{BENCH} -o r.json --force", ("r.json is a directory",)
    ),
    "bench: here": Case(files.nothing, f"{BENCH} -o .", (". is a directory",)),
    "bench: below a file": Case(files.text("f", ""), f"{BENCH} -o f/r.json", ("Not a directory",)),
    "demo: below a file": Case(files.text("f", ""), "demo -o f/demo", ("Not a directory",)),
}


@each(OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused(place: Place, case: Case) -> None:
    meet(place, case)


def start(arguments: str, **settings: Any) -> subprocess.Popen[str]:
    """Starts a command in a process and a process group of its own."""
    return subprocess.Popen(
        [*EDGEKIT, *shlex.split(arguments)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **settings,
    )


MOUNTED = 'mount -t tmpfs -o "$1" tmpfs out || exit 99; shift; "$@"; code=$?; ls -A out; exit $code'


def mounted(folder: Path, options: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command where `out` is a file system of its own, which goes away with it."""
    namespace = ["-m"] if os.geteuid() == 0 else ["-m", "-U", "-r"]
    return subprocess.run(
        ["unshare", *namespace, "sh", "-c", MOUNTED, "sh", options, *command],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="session")
def mounting(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where nothing can be mounted."""
    folder = tmp_path_factory.mktemp("mount")
    (folder / "out").mkdir()
    if shutil.which("unshare") is None or mounted(folder, "size=64k", "true").returncode:
        pytest.skip("mounting is not permitted here, or there is no unshare")


@pytest.mark.usefixtures("mounting")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("ro", "Read-only file system"),
        ("nr_inodes=1", "No space left on device"),
        *((f"size={pages * getpagesize()}", "No space left on device") for pages in (1, 2, 3)),
    ],
)
def test_a_read_only_or_full_disk_is_one_line(place: Place, options: str, told: str) -> None:
    place.add("dense.tflite")
    (place.folder / "out").mkdir()
    line = "convert dense.tflite --precision fp16 -o out/o.tflite -q"
    done = mounted(place.folder, options, *EDGEKIT, *shlex.split(line))
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    check_line(done.stderr, f"cannot write out/o.tflite: {told}")
    assert list(place.temporary.iterdir()) == []


@pytest.mark.usefixtures("mounting")
def test_a_read_only_directory_is_found_before_anything_is_measured(place: Place) -> None:
    place.add("dense.tflite")
    (place.folder / "out").mkdir()
    done = mounted(
        place.folder, "ro", *EDGEKIT, *shlex.split("bench dense.tflite -o out/r.json -q")
    )
    assert (done.returncode, done.stdout) == (1, "")
    check_line(done.stderr, "cannot write out/r.json: Read-only file system")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_one_line(place: Place) -> None:
    (place.folder / "out").mkdir(mode=0o555)
    meet(place, Case(files.nothing, f"{TO} out/o.tflite", ("Permission denied",)))


# ----------------------------------------------------------------------------- what is not there

HIDING = """
import os, sys

HIDDEN = os.environ["EDGEKIT_TEST_HIDDEN"].split(",")


class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in HIDDEN
        return None if hidden else self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
MISSING = [
    ("tensorflow", "convert plain.keras -o o.tflite", "edgekit[tensorflow]"),
    ("h5py", "inspect legacy.h5", "edgekit[tensorflow]"),
    ("litert_quantizer", PLAIN, "edgekit[tflite]"),
    ("nncf", "convert plain.keras --target host-openvino -o o.xml", "edgekit[openvino]"),
    ("openvino", "bench m.xml", "edgekit[openvino]"),
    ("onnxruntime", "inspect dense.onnx", "edgekit[onnx]"),
    ("onnxruntime", "bench dense.onnx", "edgekit[onnx]"),
    ("PIL", "bench image.tflite --data imgs", "edgekit[images]"),
    ("ai_edge_litert", "inspect dense.tflite", "pip install edgekit"),
    ("ai_edge_litert", PLAIN, "pip install edgekit"),
    ("ai_edge_litert", BENCH, "pip install edgekit"),
    ("openvino", "demo", "edgekit[openvino]"),
]


@pytest.mark.parametrize(("hidden", "line", "fix"), MISSING)
def test_a_missing_package_says_what_to_install(
    place: Place, tmp_path: Path, hidden: str, line: str, fix: str
) -> None:
    place.add(line)
    for name in ("m.xml", "m.bin", "imgs/cat/a.png"):
        files.text(name, "")(place.folder)
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    before = listing(place.folder)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "EDGEKIT_TEST_HIDDEN": hidden}
    with start(f"{line} -q", env=environment) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, ""), err
    check_line(err, f"needs {hidden}, which is not installed here", fix)
    assert listing(place.folder) == before


# ------------------------------------------------------------------------- signals and the streams

MOMENTS = [
    (signal.SIGINT, "loading", TO_INT8),
    (signal.SIGINT, "calibrating int8: mse", TO_INT8),
    (signal.SIGTERM, "drawing samples", TO_INT8),
    (signal.SIGTERM, "checking the artifact", TO_INT8),
    (signal.SIGINT, "loading", "convert plain.keras -o new/o.tflite"),
    (signal.SIGINT, "process 1", f"{BENCH} -o new/r.json"),
    (signal.SIGINT, "process 2", f"{BENCH} -o new/r.json"),
    (signal.SIGTERM, "process 1", BENCH),
]


@pytest.mark.parametrize(("sent", "moment", "line"), MOMENTS)
def test_a_signal_leaves_nothing_behind(
    place: Place, sent: signal.Signals, moment: str, line: str
) -> None:
    place.add(line)
    files.samples()(place.folder)
    before = listing(place.folder)
    with start(line) as process:
        assert process.stderr is not None
        while moment not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, sent)  # as a terminal sends it: to the whole group
        out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + sent, err
    assert out == ""
    assert err.splitlines()[-1].endswith("no half-written output is left")
    assert "Traceback" not in err
    assert listing(place.folder) == before
    # Python itself tries out the directory with a file of a random name, which a kill can leave.
    assert list(place.temporary.glob("edgekit-*")) == []


def test_no_process_outlives_a_command_that_was_killed(place: Place) -> None:
    place.add("dense.tflite")
    files.samples()(place.folder)
    with start(TO_INT8) as process:
        assert process.stderr is not None
        while "calibrating" not in process.stderr.readline():
            assert process.poll() is None
        process.kill()  # and the fixture asserts that none is left


@pytest.mark.parametrize("line", [PLAIN, "inspect dense.tflite", "profiles list"])
def test_a_reader_that_left_changes_nothing(place: Place, line: str) -> None:
    place.add("dense.tflite")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*EDGEKIT, *shlex.split(line), "-q"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    if line == PLAIN:
        assert manifest.read(place.folder / "o.tflite") is not None


def test_onnx_runtime_leaves_no_trace_of_telemetry(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    place.add("dense.onnx")
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    for line in ("inspect dense.onnx -q", "bench dense.onnx --threads 2 --target host -q"):
        with start(line, env=environment) as process:
            process.communicate(timeout=60)
    assert list(home.iterdir()) == []
    assert list(place.temporary.iterdir()) == []


# ------------------------------------------------------------------------------------- every error


def test_every_error_in_the_source_names_a_fix() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    kinds -= {"Interrupted", "Terminated"}
    root = Path(errors.__file__).parent
    lacking = [
        f"{path.relative_to(root)}:{call.lineno}"
        for pattern in ("*.py", "converters/*.py", "targets/*.py", "targets/runner/*.py")
        for path in root.glob(pattern)
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", None) in {*kinds, "RunnerError"}
        and len(call.args) == 1
        and not isinstance(call.args[0], ast.Starred)
    ]
    assert lacking == []
