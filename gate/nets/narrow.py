"""Networks that compute in bfloat16 or float16 where nearly all of their arithmetic is."""

import torch
from torch import nn


def narrow(net: nn.Module, dtype: torch.dtype) -> None:
    """Let the convolutions and PReLUs below `net` compute in `dtype`, in place; their weights are rounded once.

    Norms and linear layers stay in float32: they cost nothing beside the convolutions, and an embedding is a sum of
    25,088 terms. The networks of this room widen their features before the head by themselves.
    """
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.PReLU)):
            module.to(dtype)
