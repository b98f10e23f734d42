from pathlib import Path

import cv2
import numpy as np
import pytest

from gate.cli import main
from gate.errors import GateError
from gate.lab.calibrate import sample_crops
from gate.quality import load_method
from gate.quality.calibration import CalibrationTable


@pytest.fixture(scope="module")
def crops_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 crops of growing sharpness, and three files that are none."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.Generator(np.random.PCG64(1))
    for number in range(120):
        noise = rng.integers(0, 255, (112, 112, 3)).astype(np.uint8)
        smooth = cv2.GaussianBlur(noise, (0, 0), 0.5 + 5 * (1 - number / 120))
        cv2.imwrite(str(folder / f"{number:03d}.png"), smooth)
    cv2.imwrite(str(folder / "small.png"), np.zeros((50, 50, 3), np.uint8))
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_calibrated_method_spreads_its_reference_set_over_0_to_100(crops_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    assert main(["calibrate", str(crops_folder), "--method", "sharpness", "-o", str(file)]) == 0
    method = load_method("sharpness", calibration=file)
    quality = method.quality(sample_crops([str(crops_folder)], 1000, seed=0))
    assert quality.min() == pytest.approx(0, abs=1e-3)
    assert quality.max() == pytest.approx(100, abs=1e-3)
    assert abs(float(np.median(quality)) - 50) < 2


def test_the_same_seed_draws_the_same_crops_and_another_seed_others(crops_folder: Path) -> None:
    first = sample_crops([str(crops_folder)], 110, seed=1)
    assert np.array_equal(first, sample_crops([str(crops_folder)], 110, seed=1))
    assert not np.array_equal(first, sample_crops([str(crops_folder)], 110, seed=2))


def test_a_second_map_joins_the_first_and_the_same_pairing_replaces_it(crops_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    for seed in ("1", "2"):
        assert main(["calibrate", str(crops_folder), "--method", "sharpness", "--seed", seed, "-o", str(file)]) == 0
    (only,) = CalibrationTable.load(file).maps
    assert only.seed == 2


def test_too_few_crops_are_refused(crops_folder: Path) -> None:
    with pytest.raises(GateError, match="a calibration needs 100 or more"):
        sample_crops([str(crops_folder)], 50, seed=0)


def test_a_file_that_is_no_calibration_is_not_overwritten(
    crops_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "precious.json"
    file.write_text('{"precious": true}')
    assert main(["calibrate", str(crops_folder), "--method", "sharpness", "-o", str(file)]) == 1
    assert "not a calibration file" in capsys.readouterr().err
    assert file.read_text() == '{"precious": true}'
