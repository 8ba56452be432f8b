"""What is expected of each step: the profile's figures and nothing else, and what cancels out."""

from __future__ import annotations

import msgspec
import pytest

from edgekit import gains, hashing, manifest
from edgekit.manifest_types import ArtifactInfo, Manifest
from edgekit.profile_types import Gain, PrecisionRules, Profile
from edgekit.recipe_types import (
    ChannelsStep,
    Claim,
    DistillStep,
    FinetuneStep,
    QuantizeStep,
    SimplifyStep,
)

BOARD = Profile(
    name="board",
    title="A board",
    source="https://example.com",
    format="tflite",
    runtime="litert",
    kind="cpu",
    precision=PrecisionRules(("fp32", "int8", "int16x8"), "fp32"),
    gain={
        "fp32": Gain(1.0, 1.0, 1.0),
        "int8": Gain(2.0, 4.0),
        "int16x8": Gain(0.25, 4.0, 4.0),
        "channels": Gain(latency=3.0),
    },
    sources={"gain.int8.latency": "measured: a net; float 4 ms, int8 2 ms"},
)
INT8 = QuantizeStep(precision="int8")
HALF = ChannelsStep(ratio=0.5)


def claim(step, profile=BOARD) -> Claim:
    return gains.claims([step], profile)[0]


def figures(made) -> tuple[float | None, ...]:
    return (made.latency, made.raw_size, made.zipped_size)


def test_a_claim_is_the_profile_s_figure_with_its_source():
    made = claim(INT8)
    assert (made.step, made.technique, made.target) == ("quantize", "int8", "board")
    assert figures(made) == (2.0, 4.0, None)
    assert made.sources["latency"] == "measured: a net; float 4 ms, int8 2 ms"
    assert made.note == "not known: zipped size"


def test_a_figure_without_a_source_names_the_profile_that_says_it():
    assert claim(INT8).sources["raw_size"] == "the profile board"


def test_half_of_the_channels_is_what_the_profile_speaks_of():
    assert figures(claim(HALF)) == (3.0, None, None)


@pytest.mark.parametrize(
    ("step", "asked"),
    [(ChannelsStep(ratio=0.75), "75 % of the channels"), (ChannelsStep(max_macs=0.3), "a budget")],
)
def test_no_curve_is_made_up_for_another_share_of_the_channels(step, asked):
    made = claim(step)
    assert figures(made) == (None, None, None)
    assert made.note == f"not known for {asked}: the profile's 3.00× as fast holds for 50 %"


def test_a_profile_without_figures_claims_nothing_and_says_so():
    bare = msgspec.structs.replace(BOARD, gain={})
    made = gains.claims([INT8, HALF], bare)
    assert [figures(one) for one in made] == [(None, None, None)] * 2
    assert gains.sentences(made) == [
        f"{name}: on board not known: latency, raw size, zipped size"
        for name in ("int8", "channels")
    ]
    assert gains.warnings(made) == []


def test_without_a_target_nothing_is_claimed_and_nothing_is_said():
    made = gains.claims([HALF, INT8], None)
    assert [figures(one) for one in made] == [(None, None, None)] * 2
    assert gains.sentences(made) == []
    assert gains.warnings(made) == []


@pytest.mark.parametrize("step", [FinetuneStep(), DistillStep()])
def test_training_buys_nothing_by_itself_and_is_not_warned_of(step):
    made = claim(step)
    assert (made.latency, made.raw_size) == (1.0, 1.0)
    assert gains.warnings([made]) == []
    assert "by itself neither speed nor size" in gains.sentences([made])[0]


def test_a_sentence_gives_each_figure_and_its_source():
    assert gains.sentences([claim(INT8)]) == [
        (
            "int8: expected on board 2.00× as fast (measured: a net; float 4 ms, int8 2 ms), 4.00×"
            " smaller (the profile board); not known: zipped size"
        )
    ]


def test_counted_macs_are_a_fact_beside_the_claim():
    made = gains.with_macs(claim(ChannelsStep(ratio=0.75)), before=1000, after=250)
    assert made.macs == 4.0
    assert made.latency is None
    assert gains.sentences([made])[0].endswith("multiply-accumulates × 0.250, counted")


def test_a_step_that_buys_no_speed_is_warned_of():
    (text,) = gains.warnings([claim(QuantizeStep(precision="int16x8"))])
    assert "int16x8 is not expected to make the model faster on board (latency factor 0.25)" in text


def test_a_step_that_shrinks_only_the_zipped_file_is_warned_of():
    pruned = Claim("prune", "prune", "board", raw_size=1.0, zipped_size=2.5)
    (text,) = gains.warnings([pruned])
    assert "not expected to make the file smaller on board (raw size factor 1)" in text
    assert text.endswith("only the zipped one (factor 2.5)")


class TestBetween:
    FLOAT = (Claim("convert", "fp32", "board", 1.0, 1.0, 1.0),)
    SMALL = (
        Claim("simplify", None, "board"),
        Claim("channels", "channels", "board", 3.0, share=0.5, macs=3.5),
        Claim("finetune", None, "board", 1.0, 1.0),
        Claim("convert", "int8", "board", 2.0, 4.0),
    )

    def test_factors_of_several_steps_multiply_and_one_unknown_makes_all_unknown(self):
        assert gains.between(self.FLOAT, self.SMALL) == Gain(6.0, None, None)
        assert gains.counted(self.FLOAT, self.SMALL) == 3.5

    def test_what_both_have_cancels_out_even_where_it_is_unknown(self):
        half = (*self.SMALL[:3], *self.FLOAT)
        assert gains.between(half, self.SMALL) == Gain(2.0, 4.0, None)
        assert gains.counted(half, self.SMALL) is None

    def test_the_other_way_round_it_is_the_inverse(self):
        assert gains.between(self.SMALL, self.FLOAT).latency == pytest.approx(1 / 6)

    def test_equal_claims_claim_nothing(self):
        assert gains.between(self.SMALL, self.SMALL) == Gain()

    def test_another_share_of_channels_does_not_cancel_out(self):
        less = (Claim("channels", "channels", "board", None, share=0.25), *self.FLOAT)
        assert gains.between(less, self.SMALL).latency is None


class TestOfConversion:
    @pytest.fixture
    def model(self, tmp_path):
        """A model that was compressed for `host`, with its manifest."""
        path = tmp_path / "m50.keras"
        path.write_bytes(b"a model")
        self.seal(path, gains.claims([HALF, FinetuneStep(), INT8], gains.hardware.load("host")))
        return path

    def seal(self, path, claims):
        info = manifest.artifact_info((path,), format_name="keras", precision=None, gzip_bytes=1)
        assert isinstance(info, ArtifactInfo)
        made = Manifest(
            versions={}, command=(), request_sha256="", seed=0, artifact=info,
            source=hashing.file_ref(path), model_name="m", claims=claims,
        )  # fmt: skip
        manifest.path_for(path).write_bytes(manifest.encode(made))

    def test_the_source_s_claims_come_along_and_its_plan_gives_way_to_the_precision(self, model):
        made = gains.of_conversion(model, "fp16", "host")
        assert [(one.step, one.technique) for one in made] == [
            ("channels", "channels"), ("finetune", None), ("convert", "fp16"),
        ]  # fmt: skip
        assert made[0].latency == 3.35

    def test_for_another_target_they_are_looked_up_anew(self, model):
        made = gains.of_conversion(model, "int8", "host-onnxruntime")
        assert {one.target for one in made} == {"host-onnxruntime"}
        assert made[0].latency is None
        assert made[0].share == 0.5

    def test_a_model_compressed_without_a_target_gets_the_claims_of_the_conversion_s(self, model):
        untargeted = gains.with_macs(gains.claims([HALF], None)[0], before=400, after=100)
        self.seal(model, (untargeted,))
        made = gains.of_conversion(model, "int8", "host")
        assert (made[0].latency, made[0].macs) == (3.35, 4.0)

    def test_a_model_without_a_manifest_has_only_its_precision_s_claim(self, tmp_path):
        (tmp_path / "m.keras").write_bytes(b"a model")
        made = gains.of_conversion(tmp_path / "m.keras", "int8", "host")
        assert [(one.step, one.latency) for one in made] == [("convert", 2.16)]

    def test_a_manifest_of_another_file_says_nothing(self, model):
        model.write_bytes(b"another model")
        assert len(gains.of_conversion(model, "int8", "host")) == 1

    def test_a_damaged_manifest_says_nothing(self, model):
        manifest.path_for(model).write_text("{")
        assert len(gains.of_conversion(model, "int8", "host")) == 1


def test_sources_name_what_they_are_of():
    before = (Claim("convert", "fp32", "board", 1.0, sources={"latency": "by definition"}),)
    after = (Claim("convert", "int8", "board", 2.0, sources={"latency": "measured: x"}),)
    assert gains.sources(before, after) == (
        "int8, latency: measured: x", "fp32, latency: by definition",
    )  # fmt: skip


def test_a_simplification_promises_nothing_and_never_hurts():
    made = claim(SimplifyStep())
    assert figures(made) == (None, None, None)
    assert "never makes a model slower or larger" in gains.sentences([made])[0]
