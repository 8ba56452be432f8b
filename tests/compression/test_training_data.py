"""Spooled training samples and their augmented views, against the data itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.workers import Worker

NUMBERS = [5, 0, 5, 299]
AUGMENT = """
import numpy as np
calls = []
def flip(x, y, seed):
    rng = np.random.default_rng(seed)
    return x + rng.integers(0, 100, (len(x), 1, 1, 1)).astype(x.dtype)
def both(x, y, seed):
    return x, y + 1
def shorter(x, y, seed):
    return x[:-1]
def nothing(x, y, seed):
    pass
def fails(x, y, seed):
    raise ValueError("no such image")
"""


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("training_cases:Cases", "training") as found:
            yield found


@pytest.fixture
def data(tmp_path):
    """300 training images of whole numbers below 100, labels 0 to 2."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (300, 8, 8, 1)).astype(np.float32)
    y = rng.integers(0, 3, 300).astype(np.int16)
    path = tmp_path / "data.npz"
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    return path, x, y


def spooled(worker, tmp_path, data, model="image", **options):
    directory = tmp_path / "spooled"
    return worker.call("spooled", model=model, data=str(data), directory=str(directory), **options)


def test_batches_are_the_samples_by_number(worker, tmp_path, data):
    path, x, y = data
    found = spooled(worker, tmp_path, path)
    assert (found["count"], found["views"], found["dtype"]) == (300, 1, "float32")
    assert np.array_equal(found["x"][0], x[NUMBERS])
    assert found["y"][0] == y[NUMBERS].tolist()
    assert np.array_equal(found["blocks"], x)


def test_preprocessing_comes_after_the_files(worker, tmp_path, data):
    path, x, _ = data
    found = spooled(worker, tmp_path, path, preprocess="unit")
    assert np.array_equal(np.array(found["x"][0], np.float32), x[NUMBERS] / np.float32(255))


def test_whole_numbers_take_one_byte_each(worker, tmp_path, data):
    found = spooled(worker, tmp_path, data[0])
    assert found["files"] == {"train/0.raw": 300 * 64, "train/1.raw": 300 * 2}


def test_a_fraction_late_in_the_data_is_kept(worker, tmp_path, data):
    _, x, y = data
    x[290, 0, 0, 0] = 0.5
    x[299, 7, 7, 0] = -3
    path = tmp_path / "late.npz"
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    found = spooled(worker, tmp_path, path)
    assert np.array_equal(found["blocks"], x)
    assert found["files"]["train/0.raw"] == 300 * 64 * 4


def test_views_differ_and_do_not_depend_on_what_is_asked_first(worker, tmp_path, data):
    hook = tmp_path / "hook.py"
    hook.write_text(AUGMENT)
    first = spooled(worker, tmp_path, data[0], augment=f"{hook}:flip")
    again = worker.call(
        "spooled", model="image", data=str(data[0]), directory=str(tmp_path / "again"),
        augment=f"{hook}:flip",
    )  # fmt: skip
    assert first["views"] == 4
    assert first["x"] == again["x"]
    distinct = {np.array(view).tobytes() for view in first["x"]}
    assert len(distinct) == 4
    shift = np.array(first["x"][0]) - data[1][NUMBERS]
    assert np.ptp(shift, axis=(1, 2, 3)).max() == 0
    assert shift[0].max() == shift[2].max()  # the same sample in the same view


def test_a_hook_may_change_the_labels(worker, tmp_path, data):
    hook = tmp_path / "hook.py"
    hook.write_text(AUGMENT)
    found = spooled(worker, tmp_path, data[0], augment=f"{hook}:both")
    assert found["y"][0] == (data[2][NUMBERS] + 1).tolist()


@pytest.mark.parametrize(("name", "said"), [
    ("shorter", r"x of shape \[255, 8, 8, 1\] for 256 samples"),
    ("nothing", "returned NoneType"),
    ("fails", r"hook\.py:14 with ValueError: no such image"),
    ("missing", "has no function 'missing'"),
])  # fmt: skip
def test_a_wrong_hook_is_named(worker, tmp_path, data, name, said):
    hook = tmp_path / "hook.py"
    hook.write_text(AUGMENT)
    with pytest.raises(DataError, match=said):
        spooled(worker, tmp_path, data[0], augment=f"{hook}:{name}")


def test_samples_of_different_lengths_are_refused(worker, tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "import numpy as np\n"
        "def give(role):\n"
        "    if role not in ('train', 'val'):\n"
        "        return None\n"
        "    one = np.ones((256, 4), np.float32)\n"
        "    return [(one, np.zeros(256)), (one[:9], None)]\n"
    )
    with pytest.raises(DataError, match="labels"):
        spooled(worker, tmp_path, f"{path}:give", model="softmax")
