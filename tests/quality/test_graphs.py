import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from gate.quality.backbone import Backbone
from gate.quality.graphs import BUCKETS, Captured, Forward, Graphed
from gate.types import Image


class EagerCapture:
    """Recordings as a GPU's, that run eagerly: own tensors for inputs and outputs, whatever was left in them."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, forward: Forward, inputs: Tensor) -> Captured:
        self.sizes.append(len(inputs))
        inputs.fill_(7.0)
        outputs = forward(inputs).clone()
        return Captured(inputs, lambda: outputs.copy_(forward(inputs)), outputs)


def _doubled(rows: Tensor) -> Tensor:
    return 2 * rows.sum(dim=1)


def test_batches_are_filled_up_to_recorded_sizes_and_each_is_recorded_once() -> None:
    capture = EagerCapture()
    graphed = Graphed(_doubled, "cpu", capture=capture)
    for count in (3, 4, 1, 3, 5, 8):
        rows = torch.arange(count * 2.0).view(count, 2)
        torch.testing.assert_close(graphed(rows), _doubled(rows), rtol=0, atol=0)
    assert capture.sizes == [4, 1, 8]


def test_results_outlive_the_next_batch() -> None:
    graphed = Graphed(_doubled, "cpu", capture=EagerCapture())
    first = graphed(torch.ones(2, 3))
    graphed(torch.zeros(2, 3))
    assert first.tolist() == [6.0, 6.0]


def test_a_batch_larger_than_any_recording_runs_as_it_is() -> None:
    capture = EagerCapture()
    rows = torch.ones(BUCKETS[-1] + 1, 1)
    assert torch.equal(Graphed(_doubled, "cpu", capture=capture)(rows), _doubled(rows))
    assert capture.sizes == []


def test_a_pass_that_cannot_be_recorded_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    def broken(forward: Forward, inputs: Tensor) -> Captured:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphed = Graphed(_doubled, "cpu", capture=broken)
    with caplog.at_level(logging.WARNING, logger="gate"):
        for _ in range(2):
            assert graphed(torch.ones(1, 1)).tolist() == [2.0]
    assert [r.getMessage() for r in caplog.records] == [
        "CUDA graphs are off: operation not permitted when stream is capturing"
    ]


def test_memory_that_runs_out_while_recording_is_for_the_caller_to_halve() -> None:
    def full(forward: Forward, inputs: Tensor) -> Captured:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Graphed(_doubled, "cpu", capture=full)(torch.ones(1, 1))


def test_on_the_cpu_nothing_is_recorded() -> None:
    rows = torch.ones(3, 2)
    assert torch.equal(Graphed(_doubled, "cpu")(rows), _doubled(rows))


def test_an_embedding_does_not_depend_on_what_fills_its_batch(tiny_backbone: Backbone, noise_crops: Image) -> None:
    inputs = tiny_backbone.inputs(torch.from_numpy(noise_crops[:3]))
    with torch.inference_mode():
        filled = Graphed(tiny_backbone.embed, "cpu", capture=EagerCapture())(inputs)
        np.testing.assert_allclose(filled.numpy(), tiny_backbone.embed(inputs).numpy(), rtol=1e-5, atol=1e-6)
