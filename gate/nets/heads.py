"""Quality regressors: a recognition network and a small head, with the parameter names of their checkpoints."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gate.nets.iresnet import IResNet


class DiffiqaR(nn.Module):
    """DifFIQA(R), Babnik et al. 2023: the embedding → Linear(512, 1). Names `base.*`, `linear.*`."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.linear = nn.Linear(512, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N,) quality."""
        result: Tensor = self.linear(self.base(x)).flatten()
        return result


class EdiffiqaHead(nn.Module):
    """512 → 1024 → GELU → 1, no sigmoid. Names `l1`, `l2`."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Linear(512, 1024)
        self.l2 = nn.Linear(1024, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """(N, 512) to (N, 1)."""
        result: Tensor = self.l2(nn.functional.gelu(self.l1(embedding)))
        return result


class Ediffiqa(nn.Module):
    """eDifFIQA L, M, S, T, Babnik et al. 2024: the embedding → a two-layer head. Names `base_model.*`, `mlp.*`."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_model = base
        self.mlp = EdiffiqaHead()

    def embed_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 112, 112) to the (N, 512) embedding and the (N,) quality: training distils both."""
        embedding: Tensor = self.base_model(x)
        return embedding, self.mlp(embedding).flatten()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N,) quality."""
        return self.embed_and_score(x)[1]


class Crfiqa(IResNet):
    """CR-FIQA, Boutros et al. 2023: an IResNet whose embedding feeds Linear(512, 1), `qs`, beside its own names."""

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__(blocks)
        self.qs = nn.Linear(512, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N,) quality."""
        return torch.flatten(self.qs(super().forward(x)))
