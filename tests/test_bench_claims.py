"""Claims of manifests against measurements: which are compared, and when one falls short."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import bench_claims, printing_claims
from edgekit.bench_artifacts import Measurand
from edgekit.manifest_types import ArtifactInfo
from edgekit.profile_types import Gain
from edgekit.recipe_types import Claim
from edgekit.result_types import BenchReport, Comparison

FLOAT = Claim("convert", "fp32", "host", 1.0, 1.0, 1.0)
INT8 = Claim("convert", "int8", "host", 2.16, 3.48, 3.55)


def artifact(claims, *, size_bytes=320_000, gzip_bytes=292_000, **other) -> Measurand:
    info = ArtifactInfo("m.tflite", str(size_bytes), "tflite", None, size_bytes, gzip_bytes)
    given = {"model_name": "m", "target": "host", "claims": claims, **other}
    return Measurand(Path("m.tflite"), info, "litert", {}, **given)


def measured(speed_up, *, width=0.005) -> Comparison:
    ratio = 1 / speed_up
    interval = (ratio * (1 - width), ratio * (1 + width))
    return Comparison("a", "b", "local", ratio, interval, different=True, rounds=6)


def check(speed_up, *, baseline=None, candidate=None, on_target=True, width=0.005):
    return bench_claims.check(
        baseline or artifact((FLOAT,)),
        candidate or artifact((INT8,), size_bytes=97_100, gzip_bytes=78_500),
        measured(speed_up, width=width),
        on_target=on_target,
    )


def test_the_measured_factors_stand_beside_the_claimed_ones():
    found = check(2.2)
    assert found.claimed == Gain(2.16, 3.48, 3.55)
    assert found.measured.latency == pytest.approx(2.2)
    assert found.measured.raw_size == pytest.approx(320_000 / 97_100)
    assert found.measured.zipped_size == pytest.approx(292_000 / 78_500)
    assert found.shortfalls == ()


def test_int8_that_is_slower_than_float_is_said_in_words():
    (text,) = check(0.725).shortfalls
    assert "expected was 2.16× as fast" in text
    assert "measured 0.725×" in text
    assert text.endswith("it is slower here, not faster")


def test_less_speed_than_claimed_is_said_without_calling_it_slower():
    (text,) = check(1.5).shortfalls
    assert "slower" not in text


def test_a_claim_holds_within_a_tenth_and_within_the_interval():
    assert check(2.0).shortfalls == ()
    assert check(1.8, width=0.1).shortfalls == ()


def test_a_file_that_is_less_small_than_claimed_is_said():
    candidate = artifact((INT8,), size_bytes=160_000, gzip_bytes=78_500)
    (text,) = check(2.2, candidate=candidate).shortfalls
    assert text == "expected was 3.48× smaller than the first artifact, it is 2.00×"


def test_elsewhere_than_on_the_target_only_sizes_are_claimed():
    found = check(0.5, on_target=False)
    assert found.claimed == Gain(None, 3.48, 3.55)
    assert found.shortfalls == ()


@pytest.mark.parametrize(
    "baseline",
    [
        artifact(()),
        artifact((FLOAT,), model_name="other"),
        artifact((FLOAT,), target="host-openvino"),
        artifact((Claim("convert", "fp32", "raspberry-pi-4", 1.0, 1.0, 1.0),)),
    ],
    ids=["no manifest", "another model", "another target", "claims for another target"],
)
def test_nothing_is_claimed_of_artifacts_that_have_not_one_origin_and_target(baseline):
    assert check(2.0, baseline=baseline) is None


def test_where_no_profile_knows_nothing_is_claimed():
    unknown = artifact((Claim("convert", "int8", "host"),))
    assert check(2.0, candidate=unknown) is None


def test_counted_macs_are_told_even_where_nothing_is_claimed():
    halved = artifact((Claim("channels", "channels", "host", share=0.75, macs=8.0), FLOAT))
    found = check(2.0, candidate=halved)
    assert found.claimed == Gain()
    assert found.macs == 8.0


def test_a_report_without_claims_has_no_table_of_them():
    assert printing_claims.claims(BenchReport("edgekit.bench/1", ()), {}) is None
