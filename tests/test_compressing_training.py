"""Recipes that train, on the demo's model and data: what they reach, keep, refuse and repeat."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgekit import cli, compressing, manifest, registry
from edgekit.errors import DataError, GateError, ModelError, UsageError

MODEL = Path(str(resources.files("edgekit") / "demo_digits.keras"))
DATA = str(resources.files("edgekit") / "demo_digits.npz")
DISTIL = """name = "small"
[[step]]
kind = "channels"
ratio = 0.5
[[step]]
kind = "distill"
epochs = 4
"""
FINETUNE = """name = "tuned"
[[step]]
kind = "finetune"
epochs = 1
"""

pytestmark = pytest.mark.skipif(
    bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
)


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    directory = tmp_path_factory.mktemp("distilled")
    said, shares = [], []
    made = compressing.compress(
        MODEL, recipe=_recipe(directory, DISTIL), data=DATA, output=directory / "m.keras",
        on_progress=said.append, on_bar=lambda share, text: shares.append((share, text)),
    )  # fmt: skip
    return directory / "m.keras", made, said


def test_distillation_gives_back_what_pruning_took(distilled, keras_alone):
    output, made, _ = distilled
    names = [step.name for step in made.steps]
    assert names == ["source", "simplify", "channels", "distill", "simplify"]
    _, _, pruned, taught, last = made.steps
    value = {step.name: step.detail["accuracy"]["value"] for step in (pruned, taught)}
    assert value["channels"] < 0.9 < value["distill"]
    for role, accuracy in (
        ("test", made.accuracy.value),
        ("val", last.detail["accuracy"]["value"]),
    ):
        alone = keras_alone.call("top1", path=str(output), data=DATA, role=role)
        assert accuracy == pytest.approx(alone)
    assert keras_alone.call("parameters", path=str(output)) == last.detail["parameters_after"]
    assert "BatchNormalization" not in keras_alone.call("kinds", path=str(output))


def test_the_best_epoch_is_the_one_that_is_kept(distilled):
    _, made, said = distilled
    (training,) = made.steps[3].detail["training"]
    values = [record["accuracy"]["value"] for record in training["history"]]
    assert [record["epoch"] for record in training["history"]] == [0, 1, 2, 3, 4]
    assert training["history"][0]["loss"] is None
    assert values[training["best_epoch"]] == max(values)
    assert made.steps[3].detail["accuracy"]["value"] == max(values)
    assert made.steps[3].detail["teacher"]["path"] == str(MODEL)
    epochs = [line for line in said if "epoch " in line]
    assert len(epochs) == 4
    assert "loss " in epochs[0]


def test_the_same_training_gives_the_same_bytes(distilled, tmp_path):
    output, made, _ = distilled
    again = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, DISTIL), data=DATA, output=tmp_path / "m.keras"
    )
    assert (tmp_path / "m.keras").read_bytes() == output.read_bytes()
    assert again.steps == made.steps


def test_epochs_of_the_command_line_win_and_another_seed_trains_otherwise(tmp_path):
    made = [
        compressing.compress(
            MODEL, recipe=_recipe(tmp_path, DISTIL), data=DATA, output=tmp_path / f"{seed}.keras",
            epochs=1, seed=seed,
        )
        for seed in (0, 1)
    ]  # fmt: skip
    histories = [one.steps[3].detail["training"][0]["history"] for one in made]
    assert [[record["epoch"] for record in history] for history in histories] == [[0, 1], [0, 1]]
    assert histories[0][1]["loss"] != histories[1][1]["loss"]


def test_each_distillation_has_its_own_teacher(tmp_path, keras_alone):
    other = tmp_path / "other.keras"
    keras_alone.call("student", output=str(other), classes=10)
    step = '[[step]]\nkind = "distill"\nepochs = 1\n'
    text = f'name = "two"\n{step}teacher = "{other}"\n{step}'
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, text), data=DATA, output=tmp_path / "m.keras"
    )
    taught = [step.detail["teacher"]["path"] for step in made.steps if step.name == "distill"]
    assert taught == [str(other), str(MODEL)]


def test_several_iterations_of_a_ratio_end_where_one_does(tmp_path):
    text = """name = "stepwise"
    [[step]]
    kind = "channels"
    ratio = 0.5
    iterations = 3
    """
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, text), data=DATA, output=tmp_path / "m.keras"
    )
    remaining = {one["layer"]: one["remaining"] for one in made.steps[2].detail["removed"]}
    assert remaining == {"conv2d": 8, "conv2d_1": 16, "conv2d_2": 16, "dense": 20}


def test_iterations_train_in_between_and_end_at_the_budget(tmp_path, keras_alone):
    text = """name = "stepwise"
    [[step]]
    kind = "channels"
    max_macs = 0.4
    scope = "global"
    criterion = "taylor"
    iterations = 2
    """
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, text), data=DATA, output=tmp_path / "m.keras"
    )
    source, _, cut, _ = made.steps
    assert 0.3 * source.detail["macs_after"] < cut.detail["macs_after"]
    assert cut.detail["macs_after"] <= 0.4 * source.detail["macs_after"]
    assert len(cut.detail["training"]) == 1
    removed = {one["layer"]: one["channels"] for one in cut.detail["removed"]}
    remaining = {one["layer"]: one["remaining"] for one in cut.detail["removed"]}
    widths = keras_alone.call("widths", path=str(MODEL))
    assert all(removed[name] + remaining[name] == widths[name] for name in removed)


def test_a_loss_that_is_no_number_keeps_the_last_good_model(tmp_path, keras_alone):
    hooks = tmp_path / "hooks.py"
    hooks.write_text("def nan(y, outputs):\n    return outputs * float('nan')\n")
    output = tmp_path / "m.keras"
    with pytest.raises(
        GateError, match="no finite number at training step 1; kept is the"
    ) as raised:
        compressing.compress(
            MODEL, recipe=_recipe(tmp_path, FINETUNE), data=DATA, loss=f"{hooks}:nan",
            output=output,
        )  # fmt: skip
    assert "learning_rate" in raised.value.fix
    assert keras_alone.call("difference", before=str(MODEL), after=str(output), data=DATA) <= 1e-4
    assert "training stopped" in " ".join(manifest.read(output).warnings)


def test_a_drop_beyond_the_limit_is_exit_3_and_the_model_is_there(tmp_path, capsys):
    recipe = _recipe(tmp_path, DISTIL.partition('[[step]]\nkind = "distill"')[0])
    output = tmp_path / "m.keras"
    line = ["compress", str(MODEL), "--recipe", recipe, "--data", DATA, "-o", str(output)]
    assert cli.main([*line, "--max-drop", "1%"]) == 3
    said = capsys.readouterr().err
    assert "allowed was 0.01" in said
    assert "--max-drop" in said
    assert manifest.read(output).accuracy.value < 0.9


def test_an_augmentation_hook_sees_raw_samples(tmp_path):
    hooks = tmp_path / "hooks.py"
    hooks.write_text(
        "import numpy as np\n"
        "def shift(x, y, seed):\n"
        "    assert x.max() > 1 and len(x) == len(y)\n"
        "    open(__file__ + '.seen', 'a').write(f'{seed} ')\n"
        "    return np.roll(x, seed % 2, axis=2)\n"
    )
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, FINETUNE), data=DATA, augment=f"{hooks}:shift",
        output=tmp_path / "m.keras",
    )  # fmt: skip
    assert made.accuracy.value > 0.95
    assert len((tmp_path / "hooks.py.seen").read_text().split()) == 4  # blocks of 256 of 1000


def test_a_given_student_is_taught_by_the_model(tmp_path, keras_alone):
    student, output = tmp_path / "student.keras", tmp_path / "m.keras"
    keras_alone.call("student", output=str(student), classes=10)
    made = compressing.compress(
        MODEL, recipe="distill", student=student, epochs=3, data=DATA, output=output
    )
    assert [step.name for step in made.steps][:2] == ["source", "student"]
    before, after = (made.steps[at].detail["accuracy"]["value"] for at in (1, 3))
    assert before < 0.3 < after
    assert [spec.name for spec in made.outputs] == ["digit"]
    assert [spec.name for spec in made.inputs] == ["image"]
    alone = keras_alone.call("top1", path=str(output), data=DATA, role="test")
    assert made.accuracy.value == pytest.approx(alone)


def test_students_and_teachers_with_other_classes_are_refused(tmp_path, keras_alone):
    other = tmp_path / "other.keras"
    keras_alone.call("student", output=str(other), classes=7)
    for role in ("student", "teacher"):
        with pytest.raises(ModelError, match="7") as raised:
            compressing.compress(
                MODEL, recipe="distill", data=DATA, output=tmp_path / "m.keras", epochs=1,
                **{role: other},
            )  # fmt: skip
        assert "10" in str(raised.value)
        assert raised.value.fix
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"data": None}, UsageError, "trains .* and --data was not given"),
        ({"epochs": 0}, UsageError, "--epochs 0 is not in 1 to"),
        ({"max_drop": 1.5}, UsageError, "--max-drop 1.5 is not in 0 to 1"),
        ({"loss": "nowhere"}, UsageError, "--loss nowhere names no function"),
        ({"augment": "missing.py:f"}, DataError, "cannot read missing.py"),
        ({"loss": "missing.py:f"}, DataError, "cannot read missing.py"),
        ({"teacher": "missing.keras"}, ModelError, "missing.keras"),
        ({"student": "missing.keras"}, ModelError, "missing.keras"),
        ({"recipe": "lossless", "teacher": MODEL}, UsageError, "has no step distill"),
        ({"recipe": "lossless", "epochs": 3}, UsageError, "does not train"),
        ({"recipe": "finetune", "teacher": MODEL}, UsageError, "has no step distill"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_trained_is_one_line_and_writes_nothing(tmp_path, options, error, words):
    given = {"recipe": "distill", "data": DATA, "epochs": 1, **options}
    if given["recipe"] == "lossless" and "epochs" not in options:
        del given["epochs"]
    with pytest.raises(error, match=words) as raised:
        compressing.compress(MODEL, output=tmp_path / "m.keras", **given)
    assert raised.value.fix
    assert not list(tmp_path.iterdir())


def test_data_without_a_training_role_is_refused_by_name(tmp_path):
    data = tmp_path / "test_only.npz"
    with np.load(DATA) as stored:
        np.savez(data, x_test=stored["x_test"], y_test=stored["y_test"])
    with pytest.raises(DataError, match=r"has no training data; it has: .*test") as raised:
        compressing.compress(MODEL, recipe="distill", data=str(data), output=tmp_path / "m.keras")
    assert "x_train" in raised.value.fix


def test_ctrl_c_while_training_leaves_nothing_and_no_process(tmp_path):
    text = DISTIL.replace("epochs = 4", "epochs = 5000")
    line = ["compress", str(MODEL), "--recipe", _recipe(tmp_path, text), "--data", DATA]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *line, "-o", str(tmp_path / "out" / "m.keras")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    said = ""
    for read in process.stderr:
        said += read
        if "epoch 2/" in read:
            break
    workers = _children(process.pid)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, said + rest
    assert not (tmp_path / "out").exists()
    assert workers
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.toml"]


def _children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found


def _recipe(directory, text):
    path = directory / "recipe.toml"
    path.write_text(text)
    return str(path)
