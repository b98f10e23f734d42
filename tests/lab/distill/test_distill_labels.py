from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from gate.errors import GateError
from gate.lab.distill.labels import blended_labels, centred_labels, recognizers_labels, scaled_labels, view
from gate.lab.distill.material import UNKNOWN, Material
from gate.lab.distill.plan import LabelRequest
from gate.lab.distill.scoring import label_scores
from gate.lab.distill.teach import Samples, plan_samples
from gate.quality.sharpness import Sharpness
from gate.types import FloatArray, Image


def by_hand(quality: FloatArray, embeddings: FloatArray, identities: Sequence[int]) -> list[float]:
    """eDifFIQA's rule, one crop at a time."""
    unit = [row / np.linalg.norm(row) for row in embeddings]
    bar = np.quantile(quality, 0.8)
    answers = []
    for place, person in enumerate(identities):
        best = [i for i, other in enumerate(identities) if other == person and quality[i] >= bar]
        if person == UNKNOWN or len(best) < 10:
            answers.append(np.nan)
            continue
        centre = sum(unit[i] for i in best)
        cosine = float(unit[place] @ centre / np.linalg.norm(centre))
        answers.append(min(1.0, max(0.0, float(quality[place]) - 0.5 * (1 - cosine))))
    return answers


def test_centred_labels_are_those_of_the_rule_and_leave_out_people_without_a_centre() -> None:
    random = np.random.default_rng(0)
    identities = np.array([0] * 30 + [1] * 30 + [2] * 30 + [UNKNOWN] * 30, dtype=np.int32)
    quality = random.random(120).astype(np.float32)
    quality[:15] += 1  # person 0 has the best crops, person 1 hardly any
    quality = scaled_labels(quality)
    embeddings = random.normal(size=(120, 8)).astype(np.float32)
    labels = centred_labels(quality, embeddings, identities)
    np.testing.assert_allclose(labels, by_hand(quality, embeddings, identities.tolist()), atol=1e-6)
    assert not np.isnan(labels[:30]).any()
    assert np.isnan(labels[30:]).all()


def test_scaled_labels_span_0_to_1_in_the_same_order() -> None:
    labels = scaled_labels(np.array([3, -1, 7], dtype=np.float32))
    np.testing.assert_allclose(labels, [0.5, 0, 1])


@pytest.mark.parametrize("scores", [[1.0, 1.0], [1.0, np.nan], [1.0, np.inf], []])
def test_scores_that_say_nothing_are_refused(scores: list[float]) -> None:
    with pytest.raises(GateError, match="finite and not all the same"):
        scaled_labels(np.array(scores, dtype=np.float32))


def test_a_blend_weighs_scaled_scores_whatever_their_unit() -> None:
    a = np.array([0, 1, 2], dtype=np.float32)
    b = np.array([3000, 1000, 2000], dtype=np.float32)
    np.testing.assert_allclose(blended_labels({"a": (3.0, a), "b": (0.0, b)}), [0, 0.5, 1])
    blend = blended_labels({"a": (1.0, a), "b": (1.0, b)})  # means 0.5, 0.25, 0.75
    np.testing.assert_allclose(blend, [0.5, 0, 1], atol=1e-6)
    np.testing.assert_allclose(blended_labels({"a": (2.0, a), "b": (2.0, b)}), blend, atol=1e-6)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -0.5)])
def test_weights_that_make_no_mean_are_refused(weights: tuple[float, float]) -> None:
    scores = np.array([0, 1], dtype=np.float32)
    with pytest.raises(GateError, match="weights of labels"):
        blended_labels({"a": (weights[0], scores), "b": (weights[1], scores)})


def world(people: int, each: int, known: int) -> tuple[Material, Samples, FloatArray, dict[str, FloatArray]]:
    """Embeddings that come nearer to their person and grow longer with a quality that nobody tells the rule."""
    random = np.random.default_rng(1)
    count = people * each
    identities = np.repeat(np.arange(people), each).astype(np.int32)
    material = Material(
        np.zeros((count, 1, 1, 3), dtype=np.uint8),
        tuple(map(str, range(count))),
        np.where(identities < known, identities, UNKNOWN).astype(np.int32),
        "",
    )
    samples = plan_samples(material, [2] * count)
    clean = random.uniform(0.3, 1, count)
    quality = clean[samples.index] * np.where(samples.version > 0, random.uniform(0.3, 1, len(samples)), 1)
    teachers = {}
    for name in ("one", "other"):
        centres = random.normal(size=(people, 64)) / 8
        own = random.normal(size=(count, 64)) / 8
        noise = random.normal(size=(len(samples), 64)) / 8
        drift = 0.6 * own[samples.index] + 0.8 * noise * (samples.version > 0)[:, None]
        direction = quality[:, None] * centres[identities[samples.index]] + (1 - quality[:, None]) * drift
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        teachers[name] = (direction * (5 + 20 * quality[:, None])).astype(np.float32)
    return material, samples, quality.astype(np.float32), teachers


def test_labels_from_recognizers_follow_the_quality_of_known_and_of_unknown_people() -> None:
    material, samples, quality, teachers = world(people=24, each=12, known=16)
    views = {name: view(values, material, samples) for name, values in teachers.items()}
    labels = recognizers_labels(views, seed=0)
    known = material.identities[samples.index] != UNKNOWN
    assert spearmanr(labels[known], quality[known])[0] > 0.9
    assert spearmanr(labels[~known], quality[~known])[0] > 0.85
    np.testing.assert_array_equal(labels, recognizers_labels(views, seed=0))


def test_a_witness_helps_to_label_unknown_people_and_leaves_the_known_ones_alone() -> None:
    material, samples, quality, teachers = world(people=24, each=12, known=16)
    # Lengths that say little, so that there is something to help with.
    noise = np.random.default_rng(5).uniform(0.3, 3, (len(samples), 1)).astype(np.float32)
    views = {name: view(values * noise, material, samples) for name, values in teachers.items()}
    witness = quality + np.random.default_rng(6).normal(0, 0.05, len(quality)).astype(np.float32)
    known = material.identities[samples.index] != UNKNOWN
    alone, helped = recognizers_labels(views, seed=0), recognizers_labels(views, [witness], seed=0)
    clean = ~known & (samples.version == 0)
    assert spearmanr(helped[clean], quality[clean])[0] > spearmanr(alone[clean], quality[clean])[0] + 0.1
    assert (helped[known] == alone[known]).mean() > 0.9


def test_a_picture_is_left_out_of_the_centre_that_it_is_measured_by() -> None:
    material, samples, _, teachers = world(people=2, each=12, known=2)
    embeddings = teachers["one"]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first = np.flatnonzero((samples.index < 12) & (samples.version == 0))
    others = unit[first[1:]].sum(axis=0)
    expected = float(unit[first[0]] @ others / np.linalg.norm(others))
    assert view(embeddings, material, samples).centre[0] == pytest.approx(expected, abs=1e-5)


def test_too_few_known_people_are_told() -> None:
    material, samples, _, teachers = world(people=3, each=12, known=3)
    with pytest.raises(GateError, match="labels from recognizers need 500"):
        recognizers_labels({"one": view(teachers["one"], material, samples)}, seed=0)


def test_requests_for_labels_are_read() -> None:
    assert LabelRequest.parse("serfiq") == LabelRequest("serfiq", 1.0)
    assert LabelRequest.parse("diffiqa:t=5=0.25") == LabelRequest("diffiqa:t=5", 0.25)
    assert LabelRequest.parse("grafiqs:phi=block3") == LabelRequest("grafiqs:phi=block3", 1.0)
    read = LabelRequest.parse("scores:a=b/s.csv=2")
    assert (read.file, read.weight) == (Path("a=b/s.csv"), 2.0)


@pytest.mark.parametrize("text", ["", "=1", "serfiq=-1", "serfiq=nan", "scores:", "serfiq:passes"])
def test_requests_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(GateError, match="--label"):
        LabelRequest.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_request_or_an_error_of_ours(text: str) -> None:
    try:
        request = LabelRequest.parse(text)
    except GateError:
        return
    assert request.name
    assert 0 <= request.weight < float("inf")


def test_scores_of_a_method_are_kept_from_chunk_to_chunk(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.lab.distill.scoring.CHUNK", 16)
    told: list[int] = []

    def interrupt(done: int, total: int) -> None:
        told.append(done)
        if done == 32:
            raise KeyboardInterrupt

    wish = LabelRequest("sharpness")
    with pytest.raises(KeyboardInterrupt):
        label_scores(wish, material, tmp_path, seed=0, device="cpu", progress=interrupt)
    scored: list[int] = []
    usual = Sharpness.score

    def counted(self: Sharpness, crops: Image, *, seeds: int) -> FloatArray:
        scored.append(len(crops))
        return usual(self, crops, seeds=seeds)

    monkeypatch.setattr(Sharpness, "score", counted)
    scores = label_scores(wish, material, tmp_path, seed=0, device="cpu", progress=lambda *_: None)
    assert sum(scored) == len(material) - 32
    fresh = label_scores(wish, material, tmp_path / "fresh", seed=0, device="cpu", progress=lambda *_: None)
    np.testing.assert_array_equal(scores, fresh)


def test_scores_come_from_a_file_too(material: Material, tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text("path,score\n" + "".join(f"{path},{i}\n" for i, path in enumerate(material.paths)))
    wish = LabelRequest.parse(f"scores:{file}")
    scores = label_scores(wish, material, tmp_path, seed=0, device="cpu", progress=lambda *_: None)
    np.testing.assert_array_equal(scores, np.arange(len(material)))
