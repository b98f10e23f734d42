"""Methods in another number format than float32: ranks hold, batches stay exact, and what cannot be is refused."""

import io
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy.stats import spearmanr
from torch import nn

from gate.errors import QualityError
from gate.nets.heads import Crfiqa, DiffiqaR
from gate.nets.iresnet import iresnet18
from gate.quality import load_method, method_info, methods
from gate.quality import precision as precision_module
from gate.quality.backbone import Backbone
from gate.quality.baselines import EmbeddingNorm
from gate.quality.contract import InputContract
from gate.quality.grafiqs import Grafiqs
from gate.quality.precision import OPTION, resolve_precision
from gate.quality.regressor import Regressor
from gate.quality.serfiq import Serfiq
from gate.quality.torch_method import TorchMethod
from gate.types import Image
from tests.quality.conftest import FillNetwork

RANKS = 0.999
BATCH_EXACT = 1e-5
"""Relative: a crop of a batch against the same crop alone, in bfloat16 on a CPU; 1.2e-7 was the most that was seen."""

REAL_CROPS = 120

ON_A_BACKBONE: dict[str, Callable[..., TorchMethod]] = {
    "embedding-norm": EmbeddingNorm,
    "serfiq": lambda backbone, **kind: Serfiq(backbone, passes=20, **kind),
    "grafiqs": Grafiqs,
}


@pytest.fixture(scope="module")
def real_crops(shared_data: Path) -> Image:
    """Aligned LFW faces, spread over the archive."""
    with tarfile.open(shared_data / "data" / "lfw-pairs-aligned.tar") as archive:
        members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith((".jpg", ".png"))]
        chosen = members[:: len(members) // REAL_CROPS][:REAL_CROPS]
        return np.stack([_decoded(archive.extractfile(m)) for m in chosen])


def _decoded(file: Any) -> Image:
    return np.asarray(Picture.open(io.BytesIO(file.read())).convert("RGB"))


@pytest.fixture(scope="module")
def spoilt_crops(portable_crops: Image) -> Image:
    """(48, 112, 112, 3): two portraits, each blurred, darkened and noised more and more."""
    generator = np.random.Generator(np.random.PCG64(3))
    spoilt = []
    for portrait in portable_crops:
        for step in range(24):
            picture = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float()
            small = max(8, 112 - 4 * step)
            picture = nn.functional.interpolate(picture, (small, small), mode="bilinear", antialias=True)
            picture = nn.functional.interpolate(picture, (112, 112), mode="bilinear")
            values = picture[0].permute(1, 2, 0).numpy() * (1 - 0.02 * step) + generator.normal(0, step, (112, 112, 3))
            spoilt.append(np.clip(values, 0, 255).astype(np.uint8))
    return np.stack(spoilt)


def _ranks(one: TorchMethod, other: TorchMethod, crops: Image) -> float:
    return float(spearmanr(one.raw(crops), other.raw(crops)).statistic)


def test_shipped_regressor_keeps_its_ranks_in_bfloat16(spoilt_crops: Image) -> None:
    exact, coarse = load_method("regressor"), load_method("regressor", precision="bfloat16")
    wanted, got = exact.raw(spoilt_crops), coarse.raw(spoilt_crops)
    assert not np.array_equal(wanted, got)
    assert spearmanr(wanted, got).statistic >= RANKS
    assert np.abs(exact.quality_of(wanted) - coarse.quality_of(got)).max() < 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["regressor", *ON_A_BACKBONE])
def test_ranks_of_real_faces_hold_in_bfloat16(name: str, real_crops: Image, request: pytest.FixtureRequest) -> None:
    if name == "regressor":
        pair = [load_method(name, precision=kind) for kind in ("float32", "bfloat16")]
    else:
        backbone = request.getfixturevalue("facexzoo")
        pair = [ON_A_BACKBONE[name](backbone, precision=kind) for kind in ("float32", "bfloat16")]
    wanted, got = (method.raw(real_crops) for method in pair)
    assert spearmanr(wanted, got).statistic >= RANKS


def test_every_layout_of_a_regressor_computes_in_bfloat16(filled_state_dict: FillNetwork, noise_crops: Image) -> None:
    for build in (lambda: Crfiqa((1, 1, 1, 1)), lambda: DiffiqaR(iresnet18())):
        made = []
        for kind in ("float32", "bfloat16"):
            net: nn.Module = build()
            net.load_state_dict(filled_state_dict(net.state_dict()))
            made.append(Regressor(net, InputContract(), name="r", model="r@0", precision=kind))
        exact, coarse = (method.raw(noise_crops) for method in made)
        assert not np.array_equal(exact, coarse)
        np.testing.assert_allclose(coarse, exact, atol=0.02 * np.abs(exact).max())
        assert made[1].weight_bytes < 0.9 * made[0].weight_bytes


@pytest.mark.parametrize("name", ON_A_BACKBONE)
def test_batches_stay_exact_in_bfloat16(name: str, filled_iresnet18: Backbone, noise_crops: Image) -> None:
    method = ON_A_BACKBONE[name](filled_iresnet18, precision="bfloat16")
    alone = np.concatenate([method.raw(crop[None]) for crop in noise_crops])
    np.testing.assert_allclose(method.raw(noise_crops), alone, rtol=BATCH_EXACT)
    np.testing.assert_allclose(method.raw(noise_crops[::-1].copy())[::-1], alone, rtol=BATCH_EXACT)


def test_auto_is_float32(filled_iresnet18: Backbone, noise_crops: Image) -> None:
    wanted = EmbeddingNorm(filled_iresnet18, precision="float32").raw(noise_crops)
    np.testing.assert_array_equal(EmbeddingNorm(filled_iresnet18).raw(noise_crops), wanted)
    assert resolve_precision("m", "auto", "cuda:0") == torch.float32


def test_every_method_has_the_option_or_says_why_not() -> None:
    for info in methods():
        assert (OPTION in info.options) != bool(info.only_float32) or info.name == "sharpness", info.name


@pytest.mark.parametrize("name", ["faceqan", "diffiqa", "mirror-cosine", "onnx"])
def test_methods_of_float32_only_refuse_with_the_reason(name: str) -> None:
    with pytest.raises(QualityError, match=f"{name} computes in float32 only: .*Leave precision out"):
        load_method(name, precision="bfloat16")


def test_formats_that_cannot_be_are_refused(tiny_backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="unknown precision 'bf16'; did you mean 'bfloat16'"):
        EmbeddingNorm(tiny_backbone, precision="bf16")
    with pytest.raises(QualityError, match="float16 needs a GPU"):
        EmbeddingNorm(tiny_backbone, precision="float16")
    with pytest.raises(QualityError, match=r"'tiny' \(TinyNet\) computes in float32 only"):
        EmbeddingNorm(tiny_backbone, precision="bfloat16")
    with pytest.raises(QualityError, match=r"'tiny' \(TinyNet\) computes in float32 only"):
        Grafiqs(tiny_backbone, precision="bfloat16")
    (tmp_path / "q.onnx").write_bytes(b"")
    with pytest.raises(QualityError, match="onnxruntime does not compute an ONNX file in bfloat16"):
        load_method("ediffiqa-t", weights=tmp_path / "q.onnx", precision="bfloat16")


def test_a_processor_without_bfloat16_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    precision_module._tell_slow.cache_clear()
    monkeypatch.setattr(precision_module, "_cpu_has_bfloat16", lambda: False)
    with caplog.at_level(logging.WARNING, logger="gate"):
        for _ in range(2):
            assert resolve_precision("m", "bfloat16", "cpu") == torch.bfloat16
    assert [record.getMessage() for record in caplog.records] == [
        "cpu has no bfloat16 arithmetic: the numbers are right, and slower than in float32"
    ]
    precision_module._tell_slow.cache_clear()


def test_steps_of_faceqan_are_lost_in_bfloat16() -> None:
    """Why faceqan refuses: between 0.5 and 1 neighbours lie four steps apart."""
    step = method_info("faceqan").options["epsilon"]
    assert isinstance(step, float)
    value = torch.tensor(0.75, dtype=torch.bfloat16)
    assert torch.equal(value + step, value)
