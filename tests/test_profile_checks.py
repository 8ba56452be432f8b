"""What is wrong in a profile is named by its dotted key, with what is allowed there."""

import pytest

from edgekit import hardware
from edgekit.errors import ProfileError

HEAD = {
    "name": '"board"',
    "title": '"A board"',
    "source": '"https://example.org"',
    "format": '"tflite"',
    "runtime": '"litert"',
    "kind": '"cpu"',
}
PRECISION = '[precision]\nsupported = ["fp32", "int8"]\ndefault = "fp32"\n'


def text(tables="", *, precision=PRECISION, **changed):
    head = {**HEAD, **changed}
    lines = [f"{key} = {value}" for key, value in head.items() if value is not None]
    return "\n".join([*lines, precision, tables])


@pytest.fixture
def refusal(tmp_path):
    def refusal(content):
        path = tmp_path / "board.toml"
        path.write_text(content)
        with pytest.raises(ProfileError) as caught:
            hardware.load(path)
        assert str(path) in caught.value.message
        assert caught.value.fix
        return str(caught.value).replace(f"{path}: ", "")

    return refusal


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text("[hardware]\ncore = 4"), "unknown key hardware.core; keys of [hardware]: arch, isa,"),
        (text("[hardware]\ncore = 4"), "did you mean hardware.cores?"),
        (text("[hardwear]\ncores = 4"), "unknown key hardwear; keys of a profile: name, title,"),
        (text("[hardwear]\ncores = 4"), "did you mean hardware?"),
        (text("[gain.int8]\nlatncy = 2.0"), "unknown key gain.int8.latncy; keys of [gain.int8]:"),
        (text("[gain.int8]\nlatncy = 2.0"), "did you mean gain.int8.latency?"),
        (text("[gain.int9]\nlatency = 2.0"), "unknown key gain.int9; allowed: fp32, fp16, int8,"),
        (text("[hardware]\ncores = '4'"), "hardware.cores is '4'; allowed: a whole number"),
        (text("[hardware]\ncores = 0"), "hardware.cores is 0; allowed: a whole number >= 1"),
        (text("[hardware]\ncores = 4.0"), "hardware.cores is 4.0; allowed: a whole number"),
        (text("[hardware]\ncores = true"), "hardware.cores is True; allowed: a whole number"),
        (text("[hardware]\nclock_hz = inf"), "hardware.clock_hz is inf; allowed: a finite number"),
        (text("[hardware]\nclock_hz = nan"), "hardware.clock_hz is nan; allowed: a finite number"),
        (
            text("[hardware]\nclock_hz = -1"),
            "hardware.clock_hz is -1; allowed: a finite number > 0",
        ),
        (text("[hardware]\nclock_hz = 1979-05-27"), "hardware.clock_hz is datetime.date(1979"),
        (text("[hardware]\nisa = 'neon'"), "hardware.isa is 'neon'; allowed: a list"),
        (text("[hardware]\nisa = ['neon', 3]"), "hardware.isa[1] is 3; allowed: text"),
        (text(hardware="3"), "hardware is 3; allowed: a table"),
        (
            text("[gain.int8]\nraw_size = 4\n[gain.fp16]\nlatency = 'x'"),
            "gain.fp16.latency is 'x'; allowed: a finite number",
        ),
        (text("[ops]\nallowed = ['ADD', 3]"), "ops.allowed[1] is 3; allowed: text"),
        (text("[ops.max_version]\nADD = 0"), "ops.max_version.ADD is 0; allowed: a whole number"),
        (text("[ops.refused]\nADD = ''"), "ops.refused.ADD is ''; allowed: text of length >= 1"),
        (text(kind='"tpu"'), "kind is 'tpu'; allowed: cpu, gpu, npu, mcu"),
        (text(kind='"cpuu"'), "did you mean cpu?"),
        (text(name='"My Board"'), "name is 'My Board'; allowed: lower-case letters, digits"),
        (text(name='"board\\n"'), "name is 'board\\n'; allowed: lower-case letters"),
        (text(name='"../up"'), "name is '../up'; allowed: lower-case letters"),
        (text(title='""'), "title is ''; allowed: text of length >= 1"),
        (text(kind=None), "lacks the key kind"),
        (text(precision=""), "lacks the key precision"),
        (text(precision='[precision]\ndefault = "fp32"'), "lacks the key precision.supported"),
        (
            text(precision='[precision]\nsupported = []\ndefault = "fp32"'),
            "precision.supported is []; allowed: a list of length >= 1",
        ),
        (
            text(precision='[precision]\nsupported = ["int4"]\ndefault = "int4-weight"'),
            "precision.supported[0] is 'int4'; allowed: fp32, fp16, int8",
        ),
        (
            text(precision='[precision]\nsupported = ["fp32"]\ndefault = "int8"'),
            "precision.default is 'int8', which precision.supported does not list (fp32)",
        ),
        (
            text(precision=PRECISION + 'input_type = "int32"'),
            "precision.input_type is 'int32'; allowed: float32, float16, int8, uint8, int16",
        ),
        (text(format='"tflit"'), "format is 'tflit'; allowed: tflite, openvino, onnx, tensorrt"),
        (text(format='"tflit"'), "did you mean tflite?"),
        (text(runtime='"openvino"'), "runtime is 'openvino', which does not execute tflite"),
        (text("[openvino]"), "[openvino] is read for format openvino, and this is tflite"),
        (
            text(format='"tensorrt"', runtime='"tensorrt"'),
            "format tensorrt needs the table [tensorrt]",
        ),
        (
            text("[tensorrt]\nmajor = 10", format='"tensorrt"', runtime='"tensorrt"'),
            "lacks the key tensorrt.compute_capability",
        ),
        (
            text("[ethos_u]\naccelerator = 'x'", format='"ethos_u"', runtime='"ethos-u"'),
            "lacks the key ethos_u.system_config",
        ),
        (
            text('[hardware]\ncores = 4\n[sources]\n"hardware.core" = "a"'),
            "does not set. Fix: did you mean hardware.cores?",
        ),
        (
            text(
                format='"openvino"',
                runtime='"openvino"',
                precision=PRECISION + 'per_tensor = ["FULLY_CONNECTED"]\n',
            ),
            "precision.per_tensor is read for formats tflite and ethos_u, and this is openvino",
        ),
        (text('[sources]\n"hardware.cores" = 1'), "sources.hardware.cores is 1; allowed: text"),
    ],
)
def test_a_wrong_key_is_named(refusal, content, message):
    assert message in refusal(content)


def test_the_file_that_is_wrong_is_named_and_not_the_one_that_extends_it(tmp_path):
    base = tmp_path / "base.toml"
    base.write_text(text("[hardware]\ncores = 'four'"))
    path = tmp_path / "mine.toml"
    path.write_text('extends = "base.toml"\nname = "mine"\n')
    with pytest.raises(ProfileError, match=r"base.toml: hardware.cores is 'four'"):
        hardware.load(path)


def test_a_key_that_the_extending_file_sets_is_its_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "raspberry-pi-4"\nname = "mine"\n[hardware]\ncores = "four"')
    with pytest.raises(ProfileError, match=r"mine.toml: hardware.cores is 'four'"):
        hardware.load(path)


def test_a_long_value_is_cut(refusal):
    assert len(refusal(text(kind='"' + "x" * 5000 + '"'))) < 300


def test_the_format_of_an_installed_converter_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.registry.exists", lambda _kind, name: name == "acme")
    path = tmp_path / "board.toml"
    path.write_text(text(format='"acme"', runtime='"acme-rt"'))
    assert hardware.load(path).runtime == "acme-rt"
