import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from edgekit import hardware
from edgekit.errors import ProfileError

MINE = """
extends = "raspberry-pi-4"
name = "kitchen-pi"
title = "The one in the kitchen"
source = "https://example.org"

[hardware]
memory_bytes = 2_000_000_000
"""
WHOLE = """
name = "my-board"
title = "A board"
source = "https://example.org"
format = "tflite"
runtime = "litert"
kind = "cpu"

[precision]
supported = ["fp32", "int8"]
default = "int8"
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(name_or_path):
    with pytest.raises(ProfileError) as caught:
        hardware.load(name_or_path)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.fix
    return text


def test_names_are_sorted_and_leave_out_parts():
    found = hardware.names()
    assert list(found) == sorted(found)
    assert "host" in found
    assert not any(name.startswith("_") for name in found)


def test_a_user_file_extends_a_built_in_one(write):
    profile = hardware.load(write(MINE))
    pi = hardware.load("raspberry-pi-4")
    assert profile.name == "kitchen-pi"
    assert profile.hardware.memory_bytes == 2_000_000_000
    assert profile.hardware.cores == pi.hardware.cores
    assert profile.gain == pi.gain
    assert profile.precision == pi.precision


def test_a_user_file_stands_alone(write):
    profile = hardware.load(str(write(WHOLE)))
    assert profile.precision.default == "int8"
    assert profile.gain == {}


def test_a_path_in_extends_is_relative_to_the_file(write, monkeypatch, tmp_path):
    write(WHOLE, "base.toml")
    child = write('extends = "./base.toml"\nname = "child"\nkind = "npu"')
    monkeypatch.chdir("/")
    profile = hardware.load(child)
    assert (profile.name, profile.kind, profile.title) == ("child", "npu", "A board")


def test_of_several_bases_the_later_wins_and_a_shared_one_does_not_come_back(write):
    write(WHOLE, "root.toml")
    write('extends = "root.toml"\nkind = "gpu"\nname = "left"', "left.toml")
    write('extends = "root.toml"\ntitle = "Right"\nname = "right"', "right.toml")
    profile = hardware.load(write('extends = ["left.toml", "right.toml"]\nname = "both"'))
    assert (profile.kind, profile.title) == ("gpu", "Right")


def test_a_list_in_the_file_replaces_the_inherited_one(write):
    profile = hardware.load(write(MINE + 'isa = ["neon"]'))
    assert profile.hardware.isa == ("neon",)


def test_a_figure_that_is_set_anew_loses_the_source_it_inherited(write):
    profile = hardware.load(write(MINE + "clock_hz = 1_800_000_000"))
    assert "hardware.clock_hz" not in profile.sources
    assert "hardware.cores" in profile.sources


def test_and_takes_the_source_that_comes_with_it(write):
    text = MINE + 'clock_hz = 1_800_000_000\n[sources]\n"hardware.clock_hz" = "cpufreq"'
    assert hardware.load(write(text)).sources["hardware.clock_hz"] == "cpufreq"


def test_files_that_extend_each_other_are_refused(write):
    write('extends = "b.toml"\nname = "a"', "a.toml")
    write('extends = "c.toml"\nname = "b"', "b.toml")
    path = write('extends = "a.toml"\nname = "c"', "c.toml")
    assert "circle: c.toml → a.toml → b.toml → c.toml" in refusal(path)


def test_a_file_that_extends_itself_is_refused(write):
    assert "circle: mine.toml → mine.toml" in refusal(write('extends = "mine.toml"\nname = "x"'))


def test_a_user_file_may_be_named_like_the_profile_that_it_extends(write):
    path = write('extends = "host"\nname = "my-host"', "host.toml")
    assert hardware.load(path).name == "my-host"


def test_a_name_is_not_inherited(write):
    assert 'lacks the key name. Fix: add name = "mine"' in refusal(write('extends = "host"'))


def test_the_name_of_a_built_in_profile_is_taken(write):
    text = refusal(write('extends = "host"\nname = "host"'))
    assert "another profile's" in text
    assert "my-host" in text


def test_an_unknown_name_offers_close_ones_and_the_list():
    text = refusal("rasberry-pi4")
    assert "no profile named 'rasberry-pi4'" in text
    assert "did you mean raspberry-pi-4" in text
    assert "edgekit profiles list" in text


def test_case_is_forgiven_in_the_hint_only():
    assert "did you mean cortex-m7" in refusal("Cortex-M7")


@pytest.mark.parametrize(
    "name", ["", " ", "_tflm", "nothing-like-it", "x" * 5000, "a\0b", "host\n", "..", "*", "-", "é"]
)
def test_no_name_at_all_is_one_line(name):
    assert "there is no profile named" in refusal(name)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.exists, "does not exist"),
        (Path.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to(path), "does not exist"),
        (lambda path: path.write_bytes(b"name = '\xff'"), "not UTF-8 text (byte 8)"),
        (lambda path: path.write_bytes(b"\x00\x01"), "not valid TOML"),
        (lambda path: path.write_text("name = \n"), "line 1"),
        (lambda path: path.write_text("a = 1\n\na = 2\n"), "line 3"),
        (lambda path: path.write_text("a = " + "[" * 20_000), "too deeply"),
        (lambda path: path.write_text("a = " + "9" * 5000), "not valid TOML"),
        (lambda path: path.write_text("#" * (2 << 20)), "larger than 1 MiB"),
        (lambda path: path.write_text(""), "lacks the key name"),
        (lambda path: path.write_text("extends = 3"), "extends is 3"),
        (lambda path: path.write_text("extends = ['host', 3]"), "extends is ['host', 3]"),
        (lambda path: path.write_text("extends = 'hots'"), "extends: there is no profile named"),
        (lambda path: path.write_text("extends = './no.toml'"), "no.toml does not exist"),
        (lambda path: path.write_text("extends = '../../../etc/passwd'"), "passwd"),
    ],
)
def test_hostile_files_end_in_one_line(tmp_path, make, words):
    path = tmp_path / "hostile.toml"
    make(path)
    assert words in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_one_line(write):
    path = write(WHOLE)
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_a_path_that_is_too_long_is_one_line():
    assert "File name too long" in refusal("x" * 5000 + ".toml")


def test_the_reference_does_not_depend_on_how_the_file_is_written(write):
    plain = hardware.reference(write(WHOLE))
    spread = 'extends = "base.toml"\nname = "my-board"\n'
    write(WHOLE.replace('"my-board"', '"base"'), "base.toml")
    assert hardware.reference(write("# a comment\n" + spread, "other.toml")) == plain
    assert plain.name == "my-board"
    assert len(plain.sha256) == 64


def test_the_reference_changes_with_what_the_profile_says(write):
    before = hardware.reference(write(WHOLE)).sha256
    after = hardware.reference(write(WHOLE.replace('default = "int8"', 'default = "fp32"'))).sha256
    assert before != after


def test_a_built_in_profile_is_read_without_looking_at_other_packages(monkeypatch):
    def refuse(**_):
        raise AssertionError("entry points were looked up")

    monkeypatch.setattr(metadata, "entry_points", refuse)
    assert hardware.load("cortex-m7").kind == "mcu"


def test_loading_reads_only_the_files_that_the_profile_is_made_of(monkeypatch):
    opened = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read(path))
    hardware.load("cortex-m4")
    assert sorted(opened) == ["_tflm.toml", "cortex-m4.toml"]


class TestThirdParty:
    @pytest.fixture
    def offer(self, tmp_path, monkeypatch):
        """Installs a distribution with an entry point in `edgekit.profiles`."""
        package = tmp_path / "site"
        info = package / "acme_boards-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-boards\nVersion: 1.0\n")
        monkeypatch.syspath_prepend(package)

        def offer(code, value="acme_boards:PLACE"):
            (package / "acme_boards.py").write_text(code)
            (info / "entry_points.txt").write_text(f"[{hardware.ENTRY_POINTS}]\nacme = {value}\n")
            sys.modules.pop("acme_boards", None)

        yield offer
        sys.modules.pop("acme_boards", None)

    def test_a_directory_offers_its_profiles(self, offer, tmp_path):
        (tmp_path / "my-board.toml").write_text(WHOLE)
        (tmp_path / "_part.toml").write_text("")
        offer(f"PLACE = {str(tmp_path)!r}")
        assert "my-board" in hardware.names()
        assert "_part" not in hardware.names()
        assert hardware.load("my-board").title == "A board"
        assert hardware.load("host").name == "host"

    def test_a_single_file_does_too(self, offer, write):
        write(WHOLE, "my-board.toml")
        offer("from pathlib import Path\nPLACE = Path(__file__).parents[1] / 'my-board.toml'")
        assert hardware.load("my-board").kind == "cpu"

    def test_a_user_file_can_extend_one(self, offer, write):
        path = write(WHOLE, "my-board.toml")
        offer(f"PLACE = {str(path)!r}")
        child = write('extends = "my-board"\nname = "child"', "child.toml")
        assert hardware.load(child).title == "A board"

    def test_a_file_with_another_name_inside_is_refused(self, offer, write):
        path = write(WHOLE, "other.toml")
        offer(f"PLACE = {str(path)!r}")
        assert "says name = 'my-board'" in refusal("other")

    @pytest.mark.parametrize(
        ("code", "value", "words"),
        [
            ("PLACE = 3", "acme_boards:PLACE", "is a int, not the path"),
            ("PLACE = '/no/such/place'", "acme_boards:PLACE", "does not exist"),
            ("", "acme_boards:PLACE", "cannot be loaded"),
            ("import no_such_module", "acme_boards:PLACE", "cannot be loaded"),
        ],
    )
    def test_a_broken_one_names_its_package(self, offer, code, value, words):
        offer(code, value)
        with pytest.raises(ProfileError) as caught:
            hardware.names()
        assert words in caught.value.message
        assert "acme-boards" in caught.value.fix
