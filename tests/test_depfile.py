"""The depfile, read by make itself."""

from __future__ import annotations

import os
import shutil
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
    assert written.endswith(f"{images}/cat/a\\ b.png:\n")


def test_a_place_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "run.d", tmp_path):
        with pytest.raises(OutputError) as caught:
            depfile.check(place)
        assert "--depfile" in caught.value.fix


def test_no_file_name_becomes_a_command(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "a;touch${IFS}PWNED;:", "a|b", "a\nb:\n\ttouch PWNED", "a\\ b", "%.o", "*"):
        (images / name).touch()
    assert prerequisites(tmp_path, [images]) == [
        str(tmp_path / "edgekit.toml"), str(images), str(images / "a"),
    ]  # fmt: skip
    assert not list(tmp_path.rglob("PWNED"))


def test_an_input_that_no_rule_can_hold_is_refused(tmp_path):
    with pytest.raises(OutputError, match="cannot stand in a depfile"):
        depfile.write(tmp_path / "run.d", build_file(tmp_path), [STAGE], [tmp_path / "a;b.npz"])
    assert not (tmp_path / "run.d").exists()


def test_make_goes_on_where_an_input_is_gone(tmp_path):
    gone = tmp_path / "images" / "gone.png"
    assert str(gone) in prerequisites(tmp_path, [gone])
    gone.unlink()
    done = subprocess.run(
        ["make", "-s", "-C", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(gone) in done.stdout  # the recipe ran


@pytest.mark.skipif(shutil.which("ninja") is None, reason="ninja is not installed")
def test_ninja_runs_again_where_one_of_them_changed_and_only_then(tmp_path):
    read = [tmp_path / "a b$c#d.npz", tmp_path / "images" / "cat.png"]
    depfile.write(tmp_path / "run.d", build_file(tmp_path), [STAGE], read)
    for place in (*read, tmp_path / "edgekit.toml"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (tmp_path / "kept.d").write_bytes((tmp_path / "run.d").read_bytes())
    outputs = " ".join(f"{tmp_path}/{path}" for path in STAGE.outputs)
    (tmp_path / "build.ninja").write_text(
        "rule run\n  command = mkdir -p build && touch $out && cp kept.d run.d\n"
        f"  depfile = run.d\nbuild {outputs}: run\n"
    )

    def ran() -> bool:
        done = subprocess.run(["ninja"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return "no work to do" not in done.stdout

    assert ran()
    assert not ran()
    for place in read:
        later_ns = (tmp_path / STAGE.outputs[0]).stat().st_mtime_ns + 10**9
        os.utime(place, ns=(later_ns, later_ns))
        assert ran()
        os.utime(place, ns=(0, 0))
        assert not ran()
    read[1].unlink()
    assert ran()
