"""The depfile, read by make itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekit import depfile
from edgekit.build_types import BuildFile, Stage
from edgekit.errors import OutputError

STAGE = Stage(
    name="convert build/m.tflite",
    kind="convert",
    where="build[0]",
    model="m",
    target="host",
    options={},
    outputs=("build/m.tflite", "build/m.tflite.edgekit.json"),
)


def build_file(directory: Path) -> BuildFile:
    file = directory / "edgekit.toml"
    return BuildFile(str(file), str(directory), {}, (), (), (), None)


def prerequisites(directory: Path, read: list[Path]) -> list[str]:
    """What make takes the first output to depend on."""
    depfile.write(directory / "run.d", build_file(directory), [STAGE], read)
    target = str(directory / "build" / "m.tflite").replace("$", "$$").replace(" ", "\\ ")
    (directory / "Makefile").write_text(f"include run.d\n{target}:\n\t@printf '%s\\n' $(foreach"
                                        " p,$^,'$p')\n")  # fmt: skip
    for place in read:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (directory / "edgekit.toml").touch()
    done = subprocess.run(
        ["make", "-s", "-B", "-C", directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_make_sees_every_file_that_was_read(tmp_path):
    read = [tmp_path / "models" / "m.tflite", tmp_path / "data.npz"]
    assert prerequisites(tmp_path, read) == [str(tmp_path / "edgekit.toml"), *map(str, read)]


def test_signs_that_make_would_take_for_its_own_are_escaped(tmp_path):
    for name in ("a$b.npz", "a#b.npz", "a:b.npz"):
        assert prerequisites(tmp_path, [tmp_path / name])[1:] == [str(tmp_path / name)]


def test_a_space_is_escaped_and_a_directory_stands_for_what_is_in_it(tmp_path):
    images = tmp_path / "images"
    (images / "cat").mkdir(parents=True)
    (images / "cat" / "a b.png").touch()
    depfile.write(tmp_path / "run.d", build_file(tmp_path), [STAGE], [images])
    written = (tmp_path / "run.d").read_text()
    assert f"{images} \\\n  {images}/cat \\\n  {images}/cat/a\\ b.png\n" in written


def test_a_place_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "run.d", tmp_path):
        with pytest.raises(OutputError) as caught:
            depfile.check(place)
        assert "--depfile" in caught.value.fix


def test_ninja_reads_it_too(tmp_path):
    depfile.write(tmp_path / "run.d", build_file(tmp_path), [STAGE], [tmp_path / "a b$c.npz"])
    text = (tmp_path / "run.d").read_text()
    assert text.startswith(f"{tmp_path}/build/m.tflite {tmp_path}/build/m.tflite.edgekit.json:")
    assert "a\\ b$$c.npz" in text
