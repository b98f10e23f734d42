from dataclasses import replace

import numpy as np
import pytest

from gate.lab.distill.checks import Exam, held_back_exam
from gate.lab.distill.lessons import Lesson
from gate.lab.distill.material import UNKNOWN, Material
from gate.lab.distill.teach import plan_samples
from gate.types import FloatArray, Image

PEOPLE, EACH = 30, 8


@pytest.fixture
def crowd() -> tuple[Lesson, dict[str, FloatArray], FloatArray]:
    """People whose embeddings scatter the more the lower a quality that is written into the first pixel."""
    random = np.random.default_rng(0)
    count = PEOPLE * EACH
    quality = (1 - 0.8 * random.random(count) ** 2).astype(np.float32)
    identities = np.repeat(np.arange(PEOPLE), EACH).astype(np.int32)
    centres, noise = random.normal(size=(PEOPLE, 64)), random.normal(size=(count, 64))
    embeddings = quality[:, None] * centres[identities] + (1 - quality[:, None]) * noise
    crops = np.zeros((count, 1, 1, 3), dtype=np.uint8)
    crops[:, 0, 0, 0] = np.round(255 * quality)
    material = Material(crops, tuple(map(str, range(count))), identities, "")
    samples = plan_samples(material, [0] * count)
    taught = identities < 10
    lesson = Lesson(material, samples, quality, None, taught, np.ones(count, dtype=np.bool_), seed=0)
    return lesson, {"eye": embeddings.astype(np.float32)}, quality


def first_pixel(crops: Image) -> FloatArray:
    return crops[:, 0, 0, 0].astype(np.float32)


Crowd = tuple[Lesson, dict[str, FloatArray], FloatArray]


def test_a_score_that_knows_the_quality_is_better_than_chance_and_its_opposite_worse(crowd: Crowd) -> None:
    lesson, embeddings, _ = crowd
    exam = held_back_exam(lesson, embeddings)
    assert len(exam.crops) == 20 * EACH
    right, wrong = exam.results(first_pixel), exam.results(lambda crops: -first_pixel(crops))
    assert right["spearman with labels"] > 0.99
    assert wrong["spearman with labels"] < -0.99
    assert right["pAUC eye"] < 0.8
    assert wrong["pAUC eye"] > 1
    assert exam.described().startswith("160 crops, 560 genuine and ")


def test_a_smaller_exam_keeps_people_whole(crowd: Crowd) -> None:
    lesson, embeddings, _ = crowd
    assert len(held_back_exam(lesson, embeddings, most=30).crops) == 4 * EACH
    unknown = replace(lesson.material, identities=np.full(PEOPLE * EACH, UNKNOWN, dtype=np.int32))
    exam = held_back_exam(replace(lesson, material=unknown), embeddings, most=30)
    assert len(exam.crops) == 30
    assert exam.results(first_pixel).keys() == {"spearman with labels"}


def test_what_cannot_be_checked_is_left_out(crowd: Crowd) -> None:
    lesson, embeddings, _ = crowd
    nothing = held_back_exam(replace(lesson, taught=np.ones(PEOPLE * EACH, dtype=np.bool_)), embeddings)
    assert nothing.results(first_pixel) == {}
    constant = held_back_exam(lesson, embeddings).results(lambda crops: np.ones(len(crops), dtype=np.float32))
    assert "spearman with labels" not in constant
    assert constant["pAUC eye"] == pytest.approx(1.0)


def test_crops_without_a_label_are_not_asked_about(crowd: Crowd) -> None:
    lesson, embeddings, quality = crowd
    labels = np.where(np.arange(len(quality)) % 2 == 0, quality, np.nan).astype(np.float32)
    assert len(held_back_exam(replace(lesson, labels=labels), embeddings).crops) == 10 * EACH


def test_spoilt_versions_are_compared_with_their_own_crop(lesson: Lesson) -> None:
    exam = held_back_exam(lesson, {})
    assert isinstance(exam, Exam)
    assert len(exam.spoilt) == len(exam.crops) == 10

    def by_membership(crops: Image) -> FloatArray:
        clean = {crop.tobytes() for crop in exam.crops}
        return np.array([crop.tobytes() in clean for crop in crops], dtype=np.float32)

    assert exam.results(by_membership)["spoilt below clean"] == 1.0
    assert exam.results(lambda crops: -by_membership(crops))["spoilt below clean"] == 0.0
