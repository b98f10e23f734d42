from dataclasses import replace

import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.degrade import SCALES, Degradation
from gate.lab.distill.lessons import FACELESS_LABEL, Lesson, Timetable
from gate.lab.distill.material import UNKNOWN, Material, held_back
from gate.lab.distill.recipe import RECIPES, Recipe, adjusted, recipe
from gate.lab.distill.spoil import KINDS, _bordered, disguise, faceless, spoil, strength_between
from gate.lab.distill.teach import plan_samples
from gate.types import Image

OURS = replace(recipe("recognizers"), batch=20, spoilt=0.5, faceless=0.1, known_share=0.5)


def test_a_version_of_a_crop_is_the_same_picture_every_time_and_unlike_the_others(material: Material) -> None:
    crop = material.crops[0]
    before = crop.copy()
    one = spoil(crop, seed=1, index=7, version=2)
    again = spoil(crop, seed=1, index=7, version=2)
    np.testing.assert_array_equal(one.crop, again.crop)
    assert (one.kinds, one.level) == (again.kinds, again.level)
    np.testing.assert_array_equal(crop, before)
    others = [spoil(crop, seed=s, index=i, version=v).crop for s, i, v in ((2, 7, 2), (1, 8, 2), (1, 7, 3))]
    assert all((other != one.crop).any() for other in others)


def test_versions_use_every_degradation(material: Material) -> None:
    kinds = {
        kind for version in range(1, 150) for kind in spoil(material.crops[0], seed=0, index=0, version=version).kinds
    }
    assert kinds == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_strengths_between_levels_meet_the_levels(kind: Degradation) -> None:
    assert [strength_between(kind, level) for level in (1, 2, 3, 4, 5)] == list(SCALES[kind].strengths)
    lower, between, upper = (strength_between(kind, level) for level in (1, 1.5, 2))
    assert min(lower, upper) < between < max(lower, upper)


def smooth() -> Image:
    """A picture that looks the same mirrored and hardly changes from pixel to pixel."""
    rows, columns = np.mgrid[-1:1:112j, -1:1:112j]
    return np.repeat((128 + 60 * np.cos(1.5 * columns) * np.cos(1.5 * rows))[:, :, None], 3, axis=2).astype(np.uint8)


def test_a_disguise_leaves_the_face_itself_alone() -> None:
    crop = smooth()
    rows, columns = np.mgrid[0:112, 0:112] - 55.5
    face = np.hypot(rows, columns) < 40
    changed_outside = 0
    for seed in range(60):
        disguised = disguise(crop, np.random.default_rng(seed)).astype(int)
        # Up to 7 % and 5 levels brighter, and a pixel or two further.
        assert np.abs(disguised - crop)[face].max() <= 24
        changed_outside += np.abs(disguised - crop)[~face].max() > 40
    assert 10 < changed_outside < 50


def test_borders_end_where_the_face_begins() -> None:
    crop = smooth()
    rows, columns = np.mgrid[0:112, 0:112] - 55.5
    for seed in range(40):
        bordered = _bordered(crop, np.random.default_rng(seed))
        np.testing.assert_array_equal(bordered[np.hypot(rows, columns) < 47], crop[np.hypot(rows, columns) < 47])


def test_a_disguise_is_decided_by_its_generator(material: Material) -> None:
    one, again = (disguise(material.crops[0], np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_pictures_without_a_face_are_crops_of_many_kinds() -> None:
    made = [faceless(np.random.default_rng(seed)) for seed in range(40)]
    assert {(picture.shape, picture.dtype) for picture in made} == {((112, 112, 3), np.dtype(np.uint8))}
    spreads = [float(picture.std()) for picture in made]
    assert min(spreads) < 1
    assert max(spreads) > 60


def test_a_batch_is_decided_by_the_seed_and_the_step(lesson: Lesson) -> None:
    one, again = Timetable(lesson, OURS).batch(3), Timetable(lesson, OURS).batch(3)
    np.testing.assert_array_equal(one.crops, again.crops)
    np.testing.assert_array_equal(one.labels, again.labels)
    other_step, other_seed = Timetable(lesson, OURS).batch(4), Timetable(replace(lesson, seed=6), OURS).batch(3)
    assert (one.crops != other_step.crops).any()
    assert (one.crops != other_seed.crops).any()


def test_batches_from_a_step_on_are_those_of_the_whole_run(lesson: Lesson) -> None:
    timetable = Timetable(lesson, replace(OURS, epochs=1.0))
    whole = [batch.labels for batch in timetable.batches(0)]
    assert len(whole) == timetable.steps
    rest = [batch.labels for batch in timetable.batches(2)]
    assert all((a == b).all() for a, b in zip(whole[2:], rest, strict=True))


def test_a_batch_holds_spoilt_crops_beside_the_crops_they_were_made_of(lesson: Lesson) -> None:
    batch = Timetable(lesson, OURS).batch(0)
    assert batch.crops.shape == (20, 112, 112, 3)
    assert batch.embeddings is not None
    assert np.count_nonzero(batch.clean >= 0) == 10
    spoilt = np.flatnonzero(batch.clean >= 0)
    # Labels of this lesson fall by 0.2 from a crop to its spoilt versions.
    np.testing.assert_allclose(batch.labels[batch.clean[spoilt]] - batch.labels[spoilt], 0.2, atol=1e-6)
    np.testing.assert_array_equal(batch.labels[-2:], np.float32(FACELESS_LABEL))
    assert not batch.embeddings[-2:].any()
    assert batch.embeddings[:-2].any(axis=1).all()


def test_what_is_held_back_or_has_no_label_is_never_seen(lesson: Lesson) -> None:
    rows = len(lesson.labels)
    number = np.arange(rows, dtype=np.float32)
    hidden = np.arange(rows) % 9 < 3  # every third crop with its versions
    labels = np.where(hidden, np.nan, number).astype(np.float32)
    timetable = Timetable(replace(lesson, labels=labels), replace(OURS, faceless=0.0))
    seen = {int(label) for step in range(30) for label in timetable.batch(step).labels}
    allowed = set(np.flatnonzero(lesson.taught & ~hidden).tolist())
    assert seen <= allowed
    assert len(seen) > len(allowed) / 2


def test_known_people_have_their_share_of_a_batch(lesson: Lesson) -> None:
    strangers = lesson.material.identities[lesson.samples.index] == UNKNOWN
    lesson = replace(lesson, labels=strangers.astype(np.float32))
    for share, expected in ((0.0, 20), (0.5, 10), (1.0, 0)):
        plain = replace(OURS, spoilt=0.0, faceless=0.0, known_share=share)
        assert Timetable(lesson, plain).batch(0).labels.sum() == expected


def test_people_are_held_back_whole(material: Material) -> None:
    identities = np.concatenate([np.repeat(np.arange(100), 5), np.full(500, UNKNOWN)]).astype(np.int32)
    crowd = Material(np.zeros((1000, 1, 1, 3), dtype=np.uint8), ("",) * 1000, identities, "")
    out = held_back(crowd, 0.2, seed=3)
    whole = [set(out[identities == person].tolist()) for person in range(100)]
    assert {len(one) for one in whole} == {1}
    assert 10 <= sum(one == {True} for one in whole) <= 30
    assert 0.15 < out[500:].mean() < 0.25
    np.testing.assert_array_equal(out, held_back(crowd, 0.2, seed=3))
    assert (out != held_back(crowd, 0.2, seed=4)).any()
    assert not held_back(material, 0.0, seed=1).any()


def test_versions_lie_behind_their_crop(material: Material) -> None:
    few = material.taken(np.array([0, 1, 2], dtype=np.int32))
    samples = plan_samples(few, [2, 0, 1])
    assert samples.index.tolist() == [0, 0, 0, 1, 2, 2]
    assert samples.version.tolist() == [0, 1, 2, 0, 0, 1]
    np.testing.assert_array_equal(samples.picture(few, 3, seed=0), few.crops[1])
    with pytest.raises(GateError, match="2 counts of versions for 3 crops"):
        plan_samples(few, [1, 1])


def test_a_recipe_takes_other_numbers_but_no_other_nature() -> None:
    changed = adjusted(recipe("ediffiqa-t"), {"epochs": "1.5", "batch": "8"})
    assert (changed.epochs, changed.batch, changed.rule) == (1.5, 8, "centre")
    with pytest.raises(GateError, match="epoch"):
        adjusted(recipe("ediffiqa-t"), {"epoch": "1"})
    with pytest.raises(GateError, match="batch must be a number"):
        adjusted(recipe("ediffiqa-t"), {"batch": "1.5"})
    with pytest.raises(GateError, match="network"):
        adjusted(recipe("ediffiqa-t"), {"network": "iresnet50"})
    with pytest.raises(GateError, match="unknown recipe"):
        recipe("ediffiqa")


def test_published_recipes_are_as_published() -> None:
    diffiqa_r = RECIPES["diffiqa-r"]
    assert (diffiqa_r.lr_head, diffiqa_r.lr_base, diffiqa_r.base_tensors, diffiqa_r.clip_norm) == (1e-3, 1e-4, 100, 5.0)
    for size, network in zip("lmst", ("iresnet100", "iresnet50", "iresnet18", "mobilefacenet"), strict=True):
        known = Recipe(f"ediffiqa-{size}", network=network, rule="centre")
        assert RECIPES[known.name] == known
        assert (known.epochs, known.batch, known.consistency, known.closeness) == (3.0, 128, 0.5, 0.5)
