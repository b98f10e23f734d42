import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gate.faces.align import TEMPLATE
from gate.faces.assemble import assemble_faces
from gate.faces.yunet import faces_from_rows

WIDTH_PX, HEIGHT_PX = 640, 480
GOOD_BOX = (100.0, 100.0, 60.0, 80.0)


def landmarks_in(box: tuple[float, ...]) -> np.ndarray:
    return TEMPLATE / 112 * box[2:] + box[:2]


def assemble(*boxes: tuple[float, ...], scores: list[float] | None = None) -> list[tuple[float, ...]]:
    faces = assemble_faces(
        np.array(boxes),
        np.stack([landmarks_in(GOOD_BOX)] * len(boxes)),
        scores or [0.9] * len(boxes),
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
    )
    return [tuple(face.box_xywh.tolist()) for face in faces]


def test_faces_come_best_score_first() -> None:
    faces = assemble_faces(
        [GOOD_BOX] * 3, [landmarks_in(GOOD_BOX)] * 3, [0.6, 0.9, 0.7], width_px=WIDTH_PX, height_px=HEIGHT_PX
    )
    assert [face.score for face in faces] == [0.9, 0.7, 0.6]


def test_a_box_that_reaches_outside_stays_as_it_is() -> None:
    cut_off = (-30.0, -10.0, 60.0, 80.0)
    assert assemble(cut_off) == [cut_off]


@pytest.mark.parametrize(
    "box",
    [
        (-60.0, 100.0, 60.0, 80.0),
        (640.0, 100.0, 60.0, 80.0),
        (100.0, -80.0, 60.0, 80.0),
        (100.0, 480.0, 60.0, 80.0),
        (100.0, 100.0, 0.0, 80.0),
        (100.0, 100.0, 60.0, -1.0),
        (np.nan, 100.0, 60.0, 80.0),
        (100.0, 100.0, np.inf, 80.0),
        (100.0, 100.0, 1e300, 80.0),
    ],
)
def test_boxes_outside_without_area_or_not_finite_are_dropped(box: tuple[float, ...]) -> None:
    assert assemble(GOOD_BOX, box, GOOD_BOX) == [GOOD_BOX, GOOD_BOX]


def test_a_row_with_nan_landmarks_or_score_or_all_points_equal_is_dropped() -> None:
    good = landmarks_in(GOOD_BOX)
    missing, single = good.copy(), np.broadcast_to(good[0], (5, 2))
    missing[3, 1] = np.nan
    faces = assemble_faces(
        [GOOD_BOX] * 4,
        np.stack([missing, single, good, good]),
        [0.99, 0.98, np.nan, 0.7],
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
    )
    assert [face.score for face in faces] == [0.7]


def test_scores_a_hair_above_one_are_clipped() -> None:
    faces = assemble_faces([GOOD_BOX], [landmarks_in(GOOD_BOX)], [1.0000001], width_px=WIDTH_PX, height_px=HEIGHT_PX)
    assert faces[0].score == 1.0


def test_no_rows_give_no_faces() -> None:
    assert assemble_faces(np.zeros((0, 4)), np.zeros((0, 5, 2)), [], width_px=WIDTH_PX, height_px=HEIGHT_PX) == []


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 6), st.just(15)),
        elements=st.one_of(st.floats(-1000, 1000, width=32), st.floats(width=32)),
    )
)
def test_whatever_rows_the_network_makes_only_finite_faces_touching_the_frame_come_out(rows: np.ndarray) -> None:
    for face in faces_from_rows(rows, 2.0, 2.0, width_px=WIDTH_PX, height_px=HEIGHT_PX):
        x, y, w, h = face.box_xywh.astype(np.float64)
        assert np.isfinite(face.landmarks).all()
        assert w > 0
        assert h > 0
        assert x < WIDTH_PX
        assert y < HEIGHT_PX
        assert x + w > 0
        assert y + h > 0
        assert 0 <= face.score <= 1


def test_rows_are_mapped_to_the_full_frame_along_both_axes() -> None:
    row = np.concatenate([[10, 20, 30, 40], landmarks_in((10, 20, 30, 40)).ravel(), [0.8]])
    (face,) = faces_from_rows(row, 2.0, 3.0, width_px=WIDTH_PX, height_px=HEIGHT_PX)
    assert face.box_xywh.tolist() == [20, 60, 60, 120]
    assert face.landmarks == pytest.approx(landmarks_in((20, 60, 60, 120)), rel=1e-5)
