import numpy as np
import pytest
import torch
from torch import Tensor

from gate.errors import DeviceError, NotCalibratedError, QualityError
from gate.quality import torch_method as method_module
from gate.quality.calibration import CalibrationKey, CalibrationTable, fit
from gate.quality.torch_method import TorchMethod
from gate.types import FloatArray, Image


class MeanPlusSeed(TorchMethod):
    """The mean grey level plus the crop's seed, on a device that holds `capacity` crops."""

    def __init__(
        self, *, max_batch: int = 32, capacity: int = 1000, calibration: CalibrationTable | None = None
    ) -> None:
        super().__init__(name="mean", model="m@0", device="cpu", max_batch=max_batch, calibration=calibration)
        self.bytes_per_crop = 1
        self.capacity = capacity
        self.sizes: list[int] = []

    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        self.sizes.append(len(crops))
        if len(crops) > self.capacity:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return crops.float().mean(dim=(1, 2, 3)) + torch.tensor(seeds)

    def score_of(self, raw: FloatArray) -> FloatArray:
        return -raw


def _crops(count: int) -> Image:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 112, 112, 3), dtype=np.uint8)


def test_raw_is_float32_one_number_a_crop() -> None:
    raw = MeanPlusSeed().raw(_crops(3))
    assert raw.dtype == np.float32
    assert raw.tolist() == [0.0, 1.0, 2.0]
    assert MeanPlusSeed().score(_crops(3)).tolist() == [0.0, -1.0, -2.0]


def test_no_crops_give_no_numbers() -> None:
    method = MeanPlusSeed()
    assert method.raw(_crops(0)).shape == (0,)
    assert method.raw(_crops(0)).dtype == np.float32
    assert method.sizes == []


def test_batches_are_never_larger_than_asked() -> None:
    method = MeanPlusSeed(max_batch=3)
    assert method.raw(_crops(8)).tolist() == list(range(8))
    assert method.sizes == [3, 3, 2]


def test_batches_fit_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_module, "free_bytes", lambda _device: 1000)
    method = MeanPlusSeed()
    method.bytes_per_crop = 200
    assert method.raw(_crops(6)).tolist() == list(range(6))
    assert method.sizes == [4, 2]
    method.bytes_per_crop = 10_000
    method.sizes.clear()
    method.raw(_crops(2))
    assert method.sizes == [1, 1]


def test_out_of_memory_halves_the_batch_and_is_counted() -> None:
    method = MeanPlusSeed(max_batch=8, capacity=4)
    assert method.raw(_crops(10)).tolist() == list(range(10))
    assert method.sizes == [8, 4, 4, 2]
    assert method.oom_count == 1


def test_a_crop_that_never_fits_is_a_device_error_not_a_crash() -> None:
    method = MeanPlusSeed(max_batch=2, capacity=0)
    with pytest.raises(DeviceError, match="mean: cpu has too little free memory for a single crop"):
        method.raw(_crops(2))
    assert method.oom_count == 2


def test_other_errors_are_not_taken_for_memory() -> None:
    class Broken(MeanPlusSeed):
        def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Broken().raw(_crops(1))


def test_numpy_and_torch_crops_score_alike_wherever_their_bytes_lie() -> None:
    crops = np.random.Generator(np.random.PCG64(2)).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    wanted = MeanPlusSeed().raw(crops)
    read_only = crops.copy()
    read_only.flags.writeable = False
    mirrored_twice = np.ascontiguousarray(crops[:, :, ::-1])[:, :, ::-1]
    for same in (torch.from_numpy(crops), read_only, mirrored_twice, np.asfortranarray(crops)):
        np.testing.assert_array_equal(MeanPlusSeed().raw(same), wanted)


@pytest.mark.parametrize(
    ("crops", "got"),
    [
        (np.zeros((112, 112, 3), np.uint8), r"\(112, 112, 3\) uint8"),
        (np.zeros((1, 96, 112, 3), np.uint8), r"\(1, 96, 112, 3\) uint8"),
        (np.zeros((1, 3, 112, 112), np.uint8), r"\(1, 3, 112, 112\) uint8"),
        (np.zeros((1, 112, 112, 3), np.float32), r"\(1, 112, 112, 3\) float32"),
        (torch.zeros(1, 112, 112, 3), r"\(1, 112, 112, 3\) torch.float32"),
        ([[0]], "list"),
    ],
)
def test_crops_of_another_kind_are_refused_with_what_they_are(crops: Image, got: str) -> None:
    with pytest.raises(QualityError, match=f"mean: crops must be .*got {got}"):
        MeanPlusSeed().raw(crops)


def test_seeds_are_one_for_all_or_one_each() -> None:
    method = MeanPlusSeed(max_batch=2)
    assert method.raw(_crops(3), seeds=5).tolist() == [5.0, 6.0, 7.0]
    assert method.raw(_crops(3), seeds=[3, 2, 1]).tolist() == [3.0, 3.0, 3.0]
    with pytest.raises(QualityError, match=r"3 crops need 3 seeds .*got 2"):
        method.raw(_crops(3), seeds=[1, 2])


def test_max_batch_below_one_is_refused() -> None:
    with pytest.raises(QualityError, match="max_batch must be at least 1, got 0"):
        MeanPlusSeed(max_batch=0)


def test_quality_is_the_calibrated_score() -> None:
    key = CalibrationKey.of("mean", {}, "m@0")
    table = CalibrationTable((fit(-np.arange(101.0), key),), "here")
    method = MeanPlusSeed(calibration=table)
    np.testing.assert_allclose(method.quality(_crops(3)), [100, 99, 98])
    np.testing.assert_allclose(method.quality_of(np.asarray([50.0], dtype=np.float32)), [50])


def test_missing_calibration_is_told_before_anything_is_scored() -> None:
    method = MeanPlusSeed(calibration=CalibrationTable((), "nowhere"))
    with pytest.raises(NotCalibratedError, match=r"no map to 0..100 for mean\(\) on m@0 in nowhere; it has none"):
        method.quality(_crops(3))
    assert method.sizes == []
