"""MobileFaceNet (Chen et al. 2018) with the parameter names that FaceX-Zoo and eDifFIQA-T share."""

from torch import Tensor, nn

from gate.nets.norm import BatchNorm2d
from gate.nets.prelu import PReLU


class ConvBlock(nn.Module):
    """conv without bias → BN → PReLU."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int = 1, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        self.bn = BatchNorm2d(channels)
        self.prelu = PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels, H', W')."""
        result: Tensor = self.prelu(self.bn(self.conv(x)))
        return result


class LinearBlock(nn.Module):
    """conv without bias → BN."""

    def __init__(self, channels_in: int, channels: int, kernel: int = 1, *, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, groups=groups, bias=False)
        self.bn = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels, H', W')."""
        result: Tensor = self.bn(self.conv(x))
        return result


class DepthWise(nn.Module):
    """1x1 to `expanded` channels, 3x3 depthwise with the stride, 1x1 down; with a shortcut where `residual`."""

    def __init__(self, channels_in: int, channels: int, expanded: int, *, stride: int, residual: bool = False) -> None:
        super().__init__()
        self.conv = ConvBlock(channels_in, expanded)
        self.conv_dw = ConvBlock(expanded, expanded, 3, stride=stride, padding=1, groups=expanded)
        self.project = LinearBlock(expanded, channels)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels, H/stride, W/stride)."""
        out: Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.residual else out


class Residual(nn.Module):
    """A chain of `count` residual depthwise units of one width."""

    def __init__(self, channels: int, count: int, expanded: int) -> None:
        super().__init__()
        units = [DepthWise(channels, channels, expanded, stride=1, residual=True) for _ in range(count)]
        self.model = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        result: Tensor = self.model(x)
        return result


class MobileFaceNet(nn.Module):
    """(N, 3, 112, 112) to (N, 512) embeddings of unit length; 1.2 M parameters."""

    l2_normalised = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBlock(3, 64, 3, stride=2, padding=1)
        self.conv2_dw = ConvBlock(64, 64, 3, padding=1, groups=64)
        self.conv_23 = DepthWise(64, 64, 128, stride=2)
        self.conv_3 = Residual(64, 4, 128)
        self.conv_34 = DepthWise(64, 128, 256, stride=2)
        self.conv_4 = Residual(128, 6, 256)
        self.conv_45 = DepthWise(128, 128, 512, stride=2)
        self.conv_5 = Residual(128, 2, 256)
        self.conv_6_sep = ConvBlock(128, 512)
        self.conv_6_dw = LinearBlock(512, 512, 7, groups=512)
        self.linear = nn.Linear(512, 512, bias=False)
        self.bn = nn.BatchNorm1d(512)

    def trunk(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to the (N, 512) features before the last linear layer."""
        x = self.conv_23(self.conv2_dw(self.conv1(x.to(self.conv1.conv.weight.dtype))))
        x = self.conv_34(self.conv_3(x))
        x = self.conv_45(self.conv_4(x))
        x = self.conv_6_sep(self.conv_5(x))
        result: Tensor = self.conv_6_dw(x).flatten(1)
        return result

    def head(self, features: Tensor) -> Tensor:
        """(N, 512) features to (N, 512) embeddings before the L2 normalisation."""
        embeddings: Tensor = self.bn(self.linear(features.to(self.bn.weight.dtype)))
        return embeddings

    def stages(self) -> dict[str, nn.Module]:
        """The modules whose outputs gradient methods call block1 to block4."""
        return {"block1": self.conv2_dw, "block2": self.conv_3, "block3": self.conv_4, "block4": self.conv_5}

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N, 512)."""
        return nn.functional.normalize(self.head(self.trunk(x)), dim=1)


def mobilefacenet() -> MobileFaceNet:
    """1.2 M parameters, 512-d."""
    return MobileFaceNet()
