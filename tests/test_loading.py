"""What a file is, by its content; and that damage of any kind ends in one line."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit import loading
from edgekit.errors import ModelError
from edgekit.hashing import file_ref

FORMATS = ("keras", "h5", "savedmodel", "tflite", "onnx")


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory):
    """x @ ones, as ONNX."""
    onnx = pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    value = onnx.helper.make_tensor_value_info
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 2], [1.0] * 8)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [weights],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def of_each_format(
    tiny_cnn_keras, tiny_cnn_h5_legacy, tiny_cnn_savedmodel, tiny_cnn_tflite, tiny_onnx
):
    return dict(
        zip(
            FORMATS,
            (tiny_cnn_keras, tiny_cnn_h5_legacy, tiny_cnn_savedmodel, tiny_cnn_tflite, tiny_onnx),
            strict=True,
        )
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_model_is_known_by_its_content_under_any_name(of_each_format, tmp_path, name):
    model = of_each_format[name]
    renamed = tmp_path / "model.bin"
    (shutil.copytree if model.is_dir() else shutil.copy)(model, renamed)
    found = loading.identify(renamed)
    assert found.format == name
    assert found.sha256 == file_ref(model).sha256
    assert found.family == {"tflite": "tflite", "onnx": "onnx"}.get(name, "keras")


@pytest.mark.parametrize("name", ["keras", "h5", "tflite", "onnx"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_one_line(of_each_format, tmp_path, name, kept):
    content = of_each_format[name].read_bytes()
    short = tmp_path / f"m.{name}"
    short.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError) as caught:
        loading.identify(short)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_truncated_saved_model_is_one_line(of_each_format, tmp_path):
    shutil.copytree(of_each_format["savedmodel"], tmp_path / "m")
    content = (tmp_path / "m" / "saved_model.pb").read_bytes()
    (tmp_path / "m" / "saved_model.pb").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"saved_model.pb is damaged"):
        loading.identify(tmp_path / "m")


def test_every_flipped_bit_of_a_keras_files_content_is_found(of_each_format, tmp_path):
    content = of_each_format["keras"].read_bytes()
    with zipfile.ZipFile(of_each_format["keras"]) as archive:
        entry = archive.getinfo("model.weights.h5")
    start = entry.header_offset + 30 + len(entry.filename)
    draw = np.random.default_rng(5)
    for _ in range(25):
        flipped = bytearray(content)
        flipped[start + draw.integers(entry.file_size)] ^= 1 << int(draw.integers(8))
        (tmp_path / "m.keras").write_bytes(flipped)
        with pytest.raises(ModelError, match=r"model.weights.h5' is damaged"):
            loading.identify(tmp_path / "m.keras")


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_flipped_bits_raise_nothing_but_model_errors(of_each_format, tmp_path, name):
    content = of_each_format[name].read_bytes()
    draw = np.random.default_rng(3)
    refused = []
    for _ in range(300):
        flipped = bytearray(content)
        for _ in range(draw.integers(1, 5)):
            flipped[draw.integers(len(flipped))] ^= 1 << int(draw.integers(8))
        (tmp_path / "m").with_suffix(f".{name}").write_bytes(flipped)
        try:
            loading.identify((tmp_path / "m").with_suffix(f".{name}"))
        except ModelError as error:
            refused.append(len(str(error)))
    assert 0 < max(refused) < 400


def test_a_flipped_hdf5_superblock_is_one_line(of_each_format, tmp_path):
    flipped = bytearray(of_each_format["h5"].read_bytes())
    flipped[40] ^= 0xFF
    (tmp_path / "m.h5").write_bytes(flipped)
    with pytest.raises(ModelError, match="HDF5"):
        loading.identify(tmp_path / "m.h5")


def test_a_missing_file_says_what_a_model_is(tmp_path):
    with pytest.raises(ModelError, match="there is no") as caught:
        loading.identify(tmp_path / "nothing.keras")
    assert ".tflite" in caught.value.fix


def test_an_empty_file_and_an_empty_directory_are_named(tmp_path):
    (tmp_path / "m.h5").touch()
    with pytest.raises(ModelError, match="is empty"):
        loading.identify(tmp_path / "m.h5")
    (tmp_path / "m").mkdir()
    with pytest.raises(ModelError, match="empty directory"):
        loading.identify(tmp_path / "m")


def test_a_directory_with_a_model_inside_names_that_model(tmp_path, tiny_cnn_keras):
    shutil.copy(tiny_cnn_keras, tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"without saved_model\.pb") as caught:
        loading.identify(tmp_path)
    assert "m.keras" in caught.value.fix


FOREIGN = {
    "m.pt": (b"\x80\x02\x8a\nl\xfc", "torch.onnx.export"),
    "m.pkl": (b"\x80\x04\x95", "skl2onnx"),
    "m.safetensors": (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "torch.onnx.export"),
    "m.gguf": (b"GGUF\x03\x00\x00\x00", "language models"),
    "m.pb": (b"\n\x1e\n\x04conv", "simple_save"),
    "m.index": (b"\x00\x00\x08\x01", "load_weights"),
    "m.data-00000-of-00001": (b"\x00\x01\x02\x03", "load_weights"),
    "m.json": (b'{"class_name": "Sequential"}', "load_weights"),
    "m.xml": (b'<?xml version="1.0"?><net name="m">', "it was made from"),
    "m.engine": (b"ftrt\x00\x00", "it was made from"),
    "m.tar.gz": (b"\x1f\x8b\x08\x00", "unpack"),
    "lfs.keras": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "page.tflite": (b"<!DOCTYPE html><html>", "download"),
    "x.npy": (b"\x93NUMPY\x01\x00", "--data"),
    "train.py": (b"import keras\n", "model.save"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_others_name_the_conversion_that_leads_here(tmp_path, name):
    content, fix = FOREIGN[name]
    (tmp_path / name).write_bytes(content + bytes(64))
    with pytest.raises(ModelError) as caught:
        loading.identify(tmp_path / name)
    assert fix in caught.value.fix


def test_a_pytorch_archive_is_told_from_a_keras_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02")
    with pytest.raises(ModelError, match="PyTorch"):
        loading.identify(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.tflite", b"\x1c\x00\x00\x00TFL4" + bytes(40)), ("m.h5", b"\x89HDX\r\n\x1a\n" + bytes(40))],
)
def test_a_file_that_is_not_what_its_name_says_shows_how_it_begins(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="it begins with"):
        loading.identify(tmp_path / name)


def weights_only(path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as stored:
        stored.create_group("layers")["kernel"] = [1.0, 2.0]
    return path


def test_an_h5_of_weights_only_says_how_to_save_the_model(tmp_path):
    with pytest.raises(ModelError, match="weights only") as caught:
        loading.identify(weights_only(tmp_path / "m.weights.h5"))
    assert "model.save" in caught.value.fix


def test_an_h5_that_reads_another_file_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "link.h5", "w") as stored:
        stored["kernel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/kernel")
    with h5py.File(tmp_path / "data.h5", "w") as stored:
        stored.create_dataset("k", (8,), "f8", external=[(str(tmp_path / "secret"), 0, 64)])
    for name in ("link.h5", "data.h5"):
        with pytest.raises(ModelError, match="from another file"):
            loading.identify(tmp_path / name)


def archive_of(path: Path, entries: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["../evil.h5", "/etc/evil.h5", "assets/../../evil", "a\\..\\..\\b"]
)
def test_an_entry_that_points_outside_is_refused(tmp_path, name):
    path = archive_of(tmp_path / "m.keras", {"config.json": b"{}", name: b"x"})
    with pytest.raises(ModelError, match="points outside"):
        loading.identify(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = archive_of(
        tmp_path / "m.keras",
        {"config.json": b"{}", "model.weights.h5": bytes(200 << 20)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"would unpack to 209,715,202 bytes"):
        loading.identify(path)


@pytest.mark.parametrize("entry", ["model.pkl", "assets/vocabulary"])
def test_a_pickle_in_a_keras_file_is_refused(tmp_path, entry):
    path = archive_of(tmp_path / "m.keras", {"config.json": b"{}", entry: b"\x80\x04\x95abc"})
    with pytest.raises(ModelError, match="is a pickle"):
        loading.identify(path)


@pytest.mark.parametrize("config", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_config_that_is_not_json_is_one_line(tmp_path, config):
    path = archive_of(tmp_path / "m.keras", {"config.json": config})
    with pytest.raises(ModelError, match=r"config.json"):
        loading.identify(path)


def test_a_loader_that_crashes_becomes_a_model_error(tiny_cnn_tflite, monkeypatch):
    crashing = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    file = loading.identify(tiny_cnn_tflite)
    monkeypatch.setattr(loading.registry, "source_reference", lambda _: "edgekit.worker:serve")
    monkeypatch.setattr(loading, "Worker", _Crashing)
    with pytest.raises(ModelError, match="SIGSEGV"), loading.opened(file):
        pytest.fail(crashing)


class _Crashing(loading.Worker):
    """A worker whose process dies of a segmentation fault at the first call."""

    def call(self, method, /, **arguments):
        import os  # noqa: PLC0415
        import signal  # noqa: PLC0415

        os.kill(self.pid(), signal.SIGSEGV)
        return super().call(method, **arguments)
