from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from torch import Tensor, nn

from gate.errors import GateError, QualityError, WeightsError
from gate.lab.cache import Cache
from gate.lab.datasets import CropSet, load_crops
from gate.lab.embeddings import compute_embeddings, mirror_images, read_embeddings, similarities, unit
from gate.lab.pairs import Comparisons
from gate.lab.recognizers import BackboneEmbedder, load_recognizer
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.types import FloatArray, Image


def write_recognizer(path: Path, *, batch: int | str = "n", side: int | str = 112) -> Path:
    """An ONNX file whose embedding is the picture in 7 x 7 means, channel by channel: (n, 147)."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["crops"], ["small"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["small"], ["embedding"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("crops", TensorProto.FLOAT, [batch, 3, side, side])]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, None])]
    graph = helper.make_graph(nodes, "means", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


def crops_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, size=(count, 112, 112, 3), dtype=np.uint8)


def means(crops: Image, mean: float = 127.5, scale: float = 127.5) -> FloatArray:
    values = (crops.astype(np.float64) - mean) / scale
    blocks = values.reshape(len(crops), 7, 16, 7, 16, 3).mean(axis=(2, 4))
    rows: FloatArray = blocks.transpose(0, 3, 1, 2).reshape(len(crops), -1).astype(np.float32)
    return rows


@pytest.fixture
def crop_set(tmp_path: Path) -> CropSet:
    folder = tmp_path / "crops" / "Ann"
    folder.mkdir(parents=True)
    for number, crop in enumerate(crops_of(5)):
        cv2.imwrite(str(folder / f"{number}.png"), crop[:, :, ::-1])
    return load_crops(str(tmp_path / "crops"))


def test_onnx_file_sees_rgb_on_the_arcface_scale(tmp_path: Path) -> None:
    embedder = load_recognizer(str(write_recognizer(tmp_path / "means.onnx")))
    np.testing.assert_allclose(embedder.embed(crops_of(3)), means(crops_of(3)), atol=1e-5)
    assert embedder.kind == "onnx"
    assert embedder.model == f"means@{embedder.sha256[:8]}"
    assert len(embedder.sha256) == 64


def test_onnx_file_of_another_contract_says_so_in_its_line(tmp_path: Path) -> None:
    path = write_recognizer(tmp_path / "means.onnx")
    embedder = load_recognizer(f"{path}?colour=bgr&mean=0&scale=255")
    np.testing.assert_allclose(embedder.embed(crops_of(2)), means(crops_of(2)[..., ::-1], 0, 255), atol=1e-5)
    assert embedder.identity != load_recognizer(str(path)).identity


def test_onnx_file_with_a_fixed_batch_is_fed_in_its_own_portions(tmp_path: Path) -> None:
    embedder = load_recognizer(str(write_recognizer(tmp_path / "means.onnx", batch=2)))
    np.testing.assert_allclose(embedder.embed(crops_of(5)), means(crops_of(5)), atol=1e-5)


class Halves(nn.Module):
    """Embedding: the mean of the upper and of the lower half, channel by channel; (N, 6)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(inputs, (2, 1)).flatten(1)


def test_backbone_embeds_in_its_own_contract_whatever_the_number_of_crops() -> None:
    contract = InputContract("bgr", 0.0, 255.0)
    embedder = BackboneEmbedder(Backbone("halves", Halves(), contract, model="halves@00000000"))
    crops = crops_of(19)
    expected = crops[..., ::-1].reshape(19, 2, -1, 3).mean(axis=2).transpose(0, 2, 1).reshape(19, 6) / 255
    np.testing.assert_allclose(embedder.embed(crops), expected, atol=1e-5)
    assert (embedder.kind, embedder.model, embedder.sha256) == ("backbone", "halves@00000000", "00000000")


def test_a_file_that_is_no_recognizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.onnx"):
        load_recognizer(str(tmp_path / "absent.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(QualityError, match="cannot be run"):
        load_recognizer(str(tmp_path / "broken.onnx"))
    path = write_recognizer(tmp_path / "means.onnx")
    for query in ("colour=grey", "mean=x", "scale=0", "size=96"):
        with pytest.raises(QualityError, match="recognizer"):
            load_recognizer(f"{path}?{query}")
    with pytest.raises(QualityError, match="unknown backbone"):
        load_recognizer("facexzoo-mobilefacenets")


def test_official_insightface_network_tells_people_apart(
    shared_data: Path, portraits: dict[str, Image], tmp_path: Path
) -> None:
    path = shared_data / "weights" / "insightface" / "models" / "buffalo_sc" / "w600k_mbf.onnx"
    if not path.is_file():
        pytest.skip("w600k_mbf.onnx is not here")
    small = [cv2.resize(portraits[name], (112, 112)) for name in ("astronaut", "grace_hopper")]
    faces = np.stack(small).astype(np.uint8)
    embeddings = load_recognizer(str(path)).embed(np.concatenate([faces, mirror_images(faces)]))
    assert embeddings.shape == (4, 512)
    units = unit(embeddings, ["a", "b", "a mirrored", "b mirrored"])
    own, other = float(units[0] @ units[2]), float(units[0] @ units[1])
    assert own > 0.5 > other


class CountingEmbedder:
    name = "counting"
    model = "counting@00000000"
    sha256 = "0" * 64
    kind: Literal["onnx"] = "onnx"
    identity: Mapping[str, object] = {"model": model}

    def __init__(self) -> None:
        self.crops = 0

    def embed(self, crops: Image) -> FloatArray:
        self.crops += len(crops)
        return means(crops)


def test_crops_and_their_mirror_images_are_embedded_once(crop_set: CropSet, tmp_path: Path) -> None:
    embedder, cache = CountingEmbedder(), Cache(tmp_path / "cache")
    plain_only = compute_embeddings(embedder, crop_set, cache, mirrored=False)
    assert embedder.crops == 5
    assert plain_only.mirrored is None
    both = compute_embeddings(embedder, crop_set, cache, mirrored=True)
    again = compute_embeddings(embedder, crop_set, cache, mirrored=True)
    assert embedder.crops == 10
    np.testing.assert_array_equal(both.plain, again.plain)
    np.testing.assert_allclose(both.plain, means(crops_of(5)), atol=1e-5)
    assert both.mirrored is not None
    np.testing.assert_allclose(both.mirrored, means(crops_of(5)[:, :, ::-1]), atol=1e-5)
    assert (both.recognizer.dimensions, both.recognizer.kind) == (147, "onnx")


def test_embeddings_from_npz_are_aligned_by_name(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.float64).reshape(4, 2) + 1
    names = np.array(["d/Ann/1.jpg", "d/Ann/2.jpg", "d/Bo/1.jpg", "d/Bo/2.jpg"])
    np.savez(tmp_path / "e.npz", names=names, embeddings=values, mirrored=-values)
    found = read_embeddings(tmp_path / "e.npz", ["Bo/1.jpg", "Ann/1.jpg"])
    assert found.plain.tolist() == [[5, 6], [1, 2]]
    assert found.mirrored is not None
    assert found.mirrored.tolist() == [[-5, -6], [-1, -2]]
    assert found.plain.dtype == np.float32
    assert (found.recognizer.kind, found.recognizer.name, len(found.recognizer.sha256)) == ("embeddings", "e.npz", 64)


def test_embeddings_from_npy_take_their_names_from_the_list_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "e.txt").write_text("a/1.jpg\na/2.jpg\n", encoding="utf-8")
    found = read_embeddings(tmp_path / "e.npy", ["a/2.jpg", "a/1.jpg"])
    assert found.plain.tolist() == [[0, 1], [1, 0]]
    assert found.mirrored is None


def test_embeddings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    with pytest.raises(GateError, match="cannot be read"):
        read_embeddings(path, ["1.jpg"])
    path.write_bytes(b"no archive")
    with pytest.raises(GateError, match="cannot be read"):
        read_embeddings(path, ["1.jpg"])
    np.savez(path, embeddings=np.ones((1, 2)))
    with pytest.raises(GateError, match="names"):
        read_embeddings(path, ["1.jpg"])
    np.savez(path, names=["1.jpg"], embeddings=np.ones((2, 2)))
    with pytest.raises(GateError, match="1 names need"):
        read_embeddings(path, ["1.jpg"])
    np.savez(path, names=["1.jpg"], embeddings=np.full((1, 2), np.nan))
    with pytest.raises(GateError, match="finite"):
        read_embeddings(path, ["1.jpg"])
    np.savez(path, names=["1.jpg"], embeddings=np.ones((1, 2)))
    with pytest.raises(GateError, match=r"1 of 2 images are not in it, such as 2\.jpg"):
        read_embeddings(path, ["1.jpg", "2.jpg"])


def test_similarities_are_cosines_across_chunk_borders() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((50, 8)).astype(np.float32)
    ends = random.integers(50, size=(2, 2500)).astype(np.int32)
    found = similarities(unit(vectors, [""] * 50), Comparisons(ends[0], ends[1], np.ones(2500, dtype=np.bool_)))
    a, b = vectors[ends[0]].astype(np.float64), vectors[ends[1]].astype(np.float64)
    expected = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_an_embedding_without_direction_is_named(bad: float) -> None:
    vectors = np.ones((3, 4), dtype=np.float32)
    vectors[1] = bad
    with pytest.raises(GateError, match=r"1 embedding\(s\) .* that of b"):
        unit(vectors, ["a", "b", "c"])
