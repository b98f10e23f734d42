import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.faces.geometry import iou_matrix, outside_share

boxes = st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.5, 400), st.floats(0.5, 400))  # x, y, w, h


def test_half_shifted_boxes_overlap_by_a_third() -> None:
    assert iou_matrix([[0, 0, 10, 10]], [[5, 0, 10, 10], [0, 0, 10, 10], [10, 0, 10, 10]]) == pytest.approx(
        np.array([[1 / 3, 1.0, 0.0]])
    )


def test_no_boxes_give_an_empty_matrix_of_the_right_shape() -> None:
    assert iou_matrix([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert iou_matrix([[0, 0, 1, 1]], np.zeros((0, 4))).shape == (1, 0)


def test_boxes_without_area_or_with_nan_overlap_nothing() -> None:
    strange = np.array([[0, 0, 0, 0], [0, 0, -5, 5], [np.nan, 0, 5, 5]])
    assert not iou_matrix(strange, [[0, 0, 5, 5]]).any()
    assert not iou_matrix(strange, strange).any()


def test_grown_boxes_overlap_where_they_only_touched_each_pair_by_its_own_margin() -> None:
    side_by_side = [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert iou_matrix(side_by_side, [[10, 0, 10, 10]], margins_px=[0.0, 5.0]) == pytest.approx(
        np.array([[0.0], [10 / 30]])
    )


@given(boxes, boxes)
def test_overlap_is_symmetric_and_between_zero_and_one(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    there, back = iou_matrix([a], [b])[0, 0], iou_matrix([b], [a])[0, 0]
    assert 0.0 <= there <= 1.0
    assert there == pytest.approx(back)
    assert iou_matrix([a], [a])[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((10, 10, 20, 20), 0.0),
        ((-10, 0, 20, 20), 0.5),
        ((-10, -10, 20, 20), 0.75),
        ((90, 0, 20, 20), 0.5),
        ((200, 0, 20, 20), 1.0),
        ((-50, -50, 200, 200), 0.75),
        ((0, 0, 0, 10), 1.0),
        ((0, 0, np.nan, 10), 1.0),
    ],
)
def test_share_of_a_box_outside_a_square_of_100(box: tuple[float, ...], share: float) -> None:
    assert outside_share(box, 100, 100) == pytest.approx(share)


@given(boxes)
def test_inside_and_outside_of_a_box_add_up(box: tuple[float, ...]) -> None:
    x, y, w, h = box
    left, right = outside_share((x, y, w / 2, h), 300, 200), outside_share((x + w / 2, y, w / 2, h), 300, 200)
    assert outside_share(box, 300, 200) == pytest.approx((left + right) / 2, abs=1e-9)
