"""Copies of known networks that compute the same function for less, where nobody reads their batch statistics.

In eval mode a BatchNorm after a convolution is a scale and a shift, which the convolution can carry itself (Jacob et
al., CVPR 2018, section 3.2).
"""

import copy
from collections.abc import Collection

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gate.nets.iresnet import BasicBlock, IResNet
from gate.nets.mobilefacenet import ConvBlock, LinearBlock, MobileFaceNet


def folded(net: nn.Module, *, parts: Collection[str] | None = None) -> nn.Module | None:
    """A frozen eval-mode copy with each BatchNorm2d that follows a convolution folded into it.

    Embeddings and input gradients agree with the original's to float32 rounding. The copy has no parameters that ask
    for a gradient, and none of the original's tensors.

    Args:
        net: the network.
        parts: names of the children of `net` in which to fold; default is all.

    Returns:
        None when the structure of `net` is not known here.
    """
    if not isinstance(net, (IResNet, MobileFaceNet)):
        return None
    twin = copy.deepcopy(net).eval()
    chosen = [child for name, child in twin.named_children() if parts is None or name in parts]
    if isinstance(twin, IResNet) and twin.conv1 in chosen:
        _fold(twin, "conv1", "bn1")
    for module in [module for child in chosen for module in child.modules()]:
        if isinstance(module, (ConvBlock, LinearBlock)):
            _fold(module, "conv", "bn")
        elif isinstance(module, BasicBlock):
            # bn1 stays: it comes before a zero-padded convolution, which would see its shift at the border.
            _fold(module, "conv1", "bn2")
            _fold(module, "conv2", "bn3")
            if module.downsample is not None:
                _fold(module.downsample, "0", "1")
    return twin.requires_grad_(requires_grad=False)


def _fold(parent: nn.Module, conv: str, norm: str) -> None:
    convolution, batch_norm = parent.get_submodule(conv), parent.get_submodule(norm)
    if not isinstance(convolution, nn.Conv2d) or not isinstance(batch_norm, nn.BatchNorm2d):
        raise TypeError(f"{type(parent).__name__}.{conv} and .{norm} are not a convolution and its BatchNorm2d")
    setattr(parent, conv, fuse_conv_bn_eval(convolution, batch_norm))
    setattr(parent, norm, nn.Identity())
