"""`file.py:function`: streamed, checked, quiet on stdout, and every failure one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import data, data_functions
from edgekit.data import Dataset
from edgekit.errors import DataError
from edgekit.types import TensorSpec

INPUT = (TensorSpec("in", (None, 2), "float32"),)
HEAD = "import numpy as np\n"


def opened(
    tmp_path: Path,
    body: str,
    inputs: tuple[TensorSpec, ...] = INPUT,
    seed: int = 0,
    name: str = "load",
) -> Dataset:
    (tmp_path / "source.py").write_text(HEAD + body)
    return data.open_data(f"{tmp_path / 'source.py'}:{name}", inputs=inputs, seed=seed)


GENERATOR = """
def load(role):
    if role not in ("train", "test"):
        return None
    def batches():
        for start in range(0, 100, 7):
            numbers = np.arange(start, min(start + 7, 100))
            yield np.stack([numbers, -numbers], axis=1), numbers
    return batches()
"""


def test_a_generator_is_streamed_and_rebatched(tmp_path: Path) -> None:
    dataset = opened(tmp_path, GENERATOR)
    assert dataset.roles == {"train": 90, "val": 10, "calib": 90, "test": None}
    batches = list(dataset.batches("test", 32))
    assert [len(batch.x["in"]) for batch in batches] == [32, 32, 32, 4]
    np.testing.assert_array_equal(np.concatenate([b.x["in"] for b in batches])[:, 0], range(100))
    assert batches[0].x["in"].dtype == np.float32
    assert dataset.count("test") == 100
    assert dataset.roles["test"] == 100


def test_parts_of_a_generator_are_disjoint_and_repeat(tmp_path: Path) -> None:
    def labels(dataset: Dataset, role: str) -> list[int]:
        return [n for b in dataset.batches(role, 9) if b.y is not None for n in b.y.tolist()]  # type: ignore[arg-type]

    first, again = opened(tmp_path, GENERATOR), opened(tmp_path, GENERATOR)
    assert sorted(labels(first, "train") + labels(first, "val")) == list(range(100))
    assert labels(first, "val") == labels(again, "val")
    drawn = first.calibration(20)
    assert drawn.y is not None
    assert set(drawn.y.tolist()) <= set(labels(first, "train"))


def test_only_a_test_role_is_split_like_any_other_test_set(tmp_path: Path) -> None:
    body = "def load(role):\n    return [(np.ones((50, 2)), None)] if role == 'test' else None\n"
    dataset = opened(tmp_path, body)
    assert dataset.roles == {"val": 10, "calib": 5, "test": 35}
    assert next(dataset.batches("test")).y is None


def test_several_inputs_come_as_dicts(tmp_path: Path) -> None:
    inputs = (TensorSpec("a", (None, 2), "float32"), TensorSpec("b", (None,), "int32"))
    body = (
        "def load(role):\n    return [({'b': np.arange(3), 'a': np.ones((3, 2))}, np.arange(3))]\n"
    )
    batch = next(opened(tmp_path, body, inputs).batches("test"))
    assert list(batch.x) == ["a", "b"]
    assert batch.x["b"].tolist() == [0, 1, 2]


def test_neighbouring_modules_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "edgekit_test_neighbour.py").write_text("SIZE = 4\n")
    body = (
        "from edgekit_test_neighbour import SIZE\n"
        "def load(role):\n    return [(np.ones((SIZE, 2)), None)]\n"
    )
    assert opened(tmp_path, body).count("test") == 4
    assert not (tmp_path / "__pycache__" / "source.cpython-311.pyc").exists()


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    body = "def load(role):\n    return [(np.ones((3, 2)), None)]\n"
    assert opened(tmp_path, body).count("test") == 3
    assert opened(tmp_path, body.replace("3, 2", "4, 2")).count("test") == 4


def test_prints_go_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    body = (
        "import os, subprocess, sys\n"
        "print('at import')\n"
        "def load(role):\n"
        "    print('at call')\n"
        "    os.write(1, b'by descriptor\\n')\n"
        "    def batches():\n"
        "        print('in generator')\n"
        "        subprocess.run([sys.executable, '-c', 'print(\"by child\")'], check=True)\n"
        "        yield np.ones((3, 2)), None\n"
        "    return batches() if role == 'test' or role == 'val' else None\n"
    )
    dataset = opened(tmp_path, body)
    sys.stdout.write("own result\n")
    list(dataset.batches("test"))
    sys.stdout.flush()
    out, err = capfd.readouterr()
    assert out == "own result\n"
    for said in ("at import", "at call", "by descriptor", "in generator", "by child"):
        assert said in err


def test_the_hash_follows_the_file_and_the_function_and_the_note_says_so(tmp_path: Path) -> None:
    body = "def load(role):\n    return [(np.ones((3, 2)), None)]\nother = load\n"
    first = opened(tmp_path, body).ref
    assert "files that it reads are not tracked" in first.notes[-1]
    assert opened(tmp_path, body).ref.sha256 == first.sha256
    assert opened(tmp_path, body, name="other").ref.sha256 != first.sha256
    assert opened(tmp_path, body + "#\n").ref.sha256 != first.sha256


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def other(role):\n    pass\n", "no function 'load'; it defines: other"),
        ("load = 3\n", "no function 'load'; it defines: none"),
        ("def load(role):\n    return None\n", "returned None for each of train, val"),
        ("def load(role):\n    return []\n", "('train') gave no samples"),
        ("def load(role):\n    return np.ones((3, 2))\n", "returned ndarray"),
        ("def load(role):\n    return 7\n", "returned int"),
        ("def load(role):\n    return {'x': 1}\n", "returned dict"),
        ("def load(role):\n    return np.ones((3, 2)), np.ones(3)\n", "returned one (x, y) pair"),
        ("def load(role):\n    return [np.ones((3, 2))]\n", "is ndarray, not (x, y or None)"),
        ("def load(role):\n    return [(1, 2, 3)]\n", "is tuple of length 3"),
        ("def load(role):\n    return [(np.ones((3, 5)), None)]\n", "has shape [3, 5]"),
        ("def load(role):\n    return [(np.ones(2), None)]\n", "has shape [2]"),
        ("def load(role):\n    return [(1.0, None)]\n", "is a single number"),
        ("def load(role):\n    return [([[1, 2], [3]], None)]\n", "is no array"),
        ("def load(role):\n    return [(np.ones((3, 2)), [1, 2])]\n", "in 3, y 2"),
        ("def load(role):\n    return [(np.ones((3, 2)), ['a'] * 3)]\n", "only numbers are read"),
        ("def load(role):\n    return [(np.full((3, 2), None), None)]\n", "pickled Python objects"),
        ("def load(role):\n    return [(np.ones((3, 2)), {'a': 1})]\n", "labels are one array"),
        ("def load(role):\n    return [({'out': np.ones((3, 2))}, None)]\n", "lacks the input in"),
        ("def load(role):\n    return [(np.full((3, 2), np.nan), None)]\n", "NaN or infinite"),
        ("def load(role):\n    return [(np.ones((3, 2)), [0, np.nan, 1])]\n", "y of "),
        ("def load():\n    return []\n", "TypeError"),
        ("def load(role):\n    raise KeyError('gone')\n", "source.py:3 with KeyError: 'gone'"),
        ("def load(role):\n    yield np.ones((3, 2)), None\n    1 / 0\n", "source.py:4 with Zero"),
        ("def load(role):\n    raise SystemExit\n", "with SystemExit"),
        ("import nowhere_to_be_found\n", "source.py:2 with ModuleNotFoundError"),
        ("def load(role:\n", "source.py:2 with SyntaxError"),
        ("raise ValueError('two\\nlines')\n", "source.py:2 with ValueError: two"),
    ],
)  # fmt: skip
def test_whatever_goes_wrong_is_one_line_with_its_place(
    tmp_path: Path, body: str, told: str
) -> None:
    with pytest.raises(DataError) as caught:  # noqa: PT012 a generator fails when it is read
        dataset = opened(tmp_path, body)
        list(dataset.batches("test"))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_with_several_inputs_needs_a_dict(tmp_path: Path) -> None:
    inputs = (TensorSpec("a", (None, 2), "float32"), TensorSpec("b", (None, 2), "float32"))
    body = "def load(role):\n    return [(np.ones((3, 2)), None)]\n"
    with pytest.raises(DataError, match="has one x; the model has the inputs a, b"):
        opened(tmp_path, body, inputs)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone\.py: No such file"):
        data.open_data(f"{tmp_path}/gone.py:load", inputs=INPUT)


def test_a_function_that_does_not_repeat_itself_is_caught(tmp_path: Path) -> None:
    body = (
        "calls = []\n"
        "def load(role):\n"
        "    if role != 'test':\n"
        "        return None\n"
        "    calls.append(1)\n"
        "    return [(np.ones((40 if len(calls) < 3 else 10, 2)), None)]\n"
    )
    dataset = opened(tmp_path, body)
    with pytest.raises(DataError, match="gave 10 samples, fewer than the time before"):
        list(dataset.batches("test"))


def test_a_generator_without_an_end_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_functions, "ENDLESS_SAMPLES", 1000)
    body = "def load(role):\n    while True:\n        yield np.ones((100, 2)), None\n"
    dataset = opened(tmp_path, body)
    with pytest.raises(DataError, match="gave more than 1000 samples"):
        dataset.count("train")
