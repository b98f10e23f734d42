from pathlib import Path

import numpy as np
import pytest
import torch

from gate.cli import main
from gate.errors import GateError, WeightsError
from gate.lab.distill.material import Material
from gate.lab.distill.restorer import CHECKPOINT, UnetProgress, UnetRecipe, UnetRun, unet_batch
from gate.lab.distill.wear import worn
from gate.quality import load_method
from gate.quality.diffiqa import load_unet

TINY = UnetRecipe(dim=16, batch=2, seed=3)


def test_a_worn_crop_is_decided_by_its_generator_and_still_the_same_picture(material: Material) -> None:
    crop = material.crops[0]
    one, again, other = (worn(crop, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one.shape, one.dtype) == (crop.shape, crop.dtype)
    assert (one != other).any()
    likeness = [np.corrcoef(worn(crop, np.random.default_rng(seed)).ravel(), crop.ravel())[0, 1] for seed in range(30)]
    assert min(likeness) > 0.7
    assert max(likeness) < 1


def test_what_goes_in_is_the_crop_at_time_0_and_nearly_its_worn_twin_at_99(material: Material) -> None:
    seen: dict[int, float] = {}
    for step in range(60):
        batch = unet_batch(material.crops, TINY, step)
        assert batch.clean.min() >= -1
        assert batch.clean.max() <= 1
        for time, clean, mixed in zip(batch.time.tolist(), batch.clean, batch.mixed, strict=True):
            seen[time] = float(np.abs(mixed - clean).mean())
    assert 0 <= min(seen) < 10
    assert 89 < max(seen) <= 99
    early = [moved for time, moved in seen.items() if time < 10]
    late = [moved for time, moved in seen.items() if time >= 60]
    assert np.mean(early) < 0.4 * np.mean(late)
    again = unet_batch(material.crops, TINY, 5)
    np.testing.assert_array_equal(again.mixed, unet_batch(material.crops, TINY, 5).mixed)


def test_the_loss_falls_and_the_average_follows(material: Material) -> None:
    run, told = UnetRun(UnetRecipe(dim=16, batch=1, seed=0)), list[float]()
    start = run.average.final_conv.weight.detach().clone()
    run.train(material.crops[:4], 12, report=lambda progress: told.append(progress.loss))
    assert run.step == len(told) == 12
    assert np.mean(told[-4:]) < 0.75 * np.mean(told[:4])
    assert not torch.equal(run.average.final_conv.weight, start)
    assert not torch.equal(run.average.final_conv.weight, run.net.final_conv.weight)


def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(material: Material, tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = UnetRun(TINY)
    whole.train(material.crops, 4, workers=2)
    torch.manual_seed(2)  # what else has drawn from the global generator must not matter
    broken = UnetRun(TINY)
    broken.train(material.crops, 4, stop=lambda: broken.step == 2)
    assert broken.step == 2
    broken.save(tmp_path / CHECKPOINT)
    again = UnetRun(TINY)
    again.restore(tmp_path / CHECKPOINT)
    told: list[UnetProgress] = []
    again.train(material.crops, 4, report=told.append)
    assert [progress.step for progress in told] == [3, 4]
    for expected, found in ((whole.net, again.net), (whole.average, again.average)):
        pairs = zip(expected.state_dict().values(), found.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_checkpoints_of_another_recipe_and_damaged_ones_are_told(tmp_path: Path) -> None:
    UnetRun(TINY).save(tmp_path / "a.pt")
    with pytest.raises(GateError, match="of another recipe"):
        UnetRun(UnetRecipe(dim=16, batch=2, seed=4)).restore(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"nothing")
    with pytest.raises(GateError, match="cannot be read as a checkpoint"):
        UnetRun(TINY).restore(tmp_path / "b.pt")


@pytest.mark.parametrize("dim", [0, 8, 20])
def test_widths_that_diffiqa_could_not_load_are_refused(dim: int) -> None:
    with pytest.raises(GateError, match="--dim"):
        UnetRecipe(dim, 1, 0)


def test_the_command_leaves_weights_that_diffiqa_scores_with(
    crop_folder: Path, mobilefacenet_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["distill", "diffusion", str(crop_folder / "crops"), "-o", str(out), "--dim", "16", "--batch", "2"]
    asked += ["--seed", "3", "--device", "cpu", "--threads", "1"]
    assert main([*asked, "--steps", "2"]) == 0
    weights = out / "diffiqa-unet.pt"
    assert capsys.readouterr().out == f"{weights}\n"
    raw, _ = load_unet(weights)
    averaged, _ = load_unet(weights, ema=True)
    assert raw.dim == 16
    assert not torch.equal(raw.final_conv.weight, averaged.final_conv.weight)
    kept = torch.load(out / CHECKPOINT, weights_only=True)
    assert torch.equal(raw.final_conv.weight, kept["model"]["model.final_conv.weight"])
    backbone = f"mobilefacenet:{mobilefacenet_file}"
    method = load_method("diffiqa", backbone=backbone, weights=weights, repeats=1)
    crops = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    assert np.isfinite(method.raw(crops)).all()
    assert "dim 16" in (out / "model-card.md").read_text()
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")

    assert main([*asked, "--steps", "2"]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert main([*asked, "--steps", "3"]) == 0
    assert "step 3" in capsys.readouterr().err
    assert (out / "curves.csv").read_text().count("\n") == 4
    assert main([*asked, "--steps", "3", "--limit", "5"]) == 1
    assert "another limit (None, not 5)" in capsys.readouterr().err


def test_a_regressor_is_no_diffusion_network(mobilefacenet_file: Path) -> None:
    with pytest.raises(WeightsError, match="no raw U-Net weights"):
        load_unet(mobilefacenet_file)
