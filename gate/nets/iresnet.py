"""IResNet-18/34/50/100, the recognition networks of ArcFace and its descendants.

He et al. 2016 with the improved residual unit of Han et al. 2017, as Deng et al. 2019 (ArcFace) use it. Parameter names
are those of the published checkpoints.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from gate.nets.norm import BatchNorm2d
from gate.nets.prelu import PReLU


class BasicBlock(nn.Module):
    """BN → conv → BN → PReLU → conv(stride) → BN, plus the shortcut; nothing after the sum."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.prelu = PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            shortcut = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels, H/stride, W/stride)."""
        out = self.conv1(self.bn1(x))
        out = self.conv2(self.prelu(self.bn2(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.bn3(out) + shortcut
        return result


class IResNet(nn.Module):
    """(N, 3, 112, 112) to (N, 512) embeddings, not normalised."""

    l2_normalised = False

    def __init__(self, blocks: Sequence[int], *, dropout_p: float = 0.0, embedding_size: int = 512) -> None:
        """`blocks` counts the residual blocks of the four stages."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.prelu = PReLU(64)
        self.layer1 = _stage(64, 64, blocks[0])
        self.layer2 = _stage(64, 128, blocks[1])
        self.layer3 = _stage(128, 256, blocks[2])
        self.layer4 = _stage(256, 512, blocks[3])
        self.bn2 = BatchNorm2d(512)
        self.dropout = nn.Dropout(dropout_p)
        self.fc = nn.Linear(512 * 7 * 7, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)

    def trunk(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to the (N, 25088) features before dropout."""
        x = self.prelu(self.bn1(self.conv1(x.to(self.conv1.weight.dtype))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        result: Tensor = self.bn2(x).flatten(1)
        return result

    def head(self, features: Tensor) -> Tensor:
        """(N, 25088) features, dropped out or not, to (N, 512) embeddings."""
        embeddings: Tensor = self.features(self.fc(features.to(self.features.weight.dtype)))
        return embeddings

    def stages(self) -> dict[str, nn.Module]:
        """The modules whose outputs gradient methods call block1 to block4."""
        return {"block1": self.layer1, "block2": self.layer2, "block3": self.layer3, "block4": self.layer4}

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N, 512)."""
        return self.head(self.dropout(self.trunk(x)))


def _stage(channels_in: int, channels: int, blocks: int) -> nn.Sequential:
    rest = [BasicBlock(channels, channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(channels_in, channels, 2), *rest)


def iresnet18() -> IResNet:
    """24 M parameters."""
    return IResNet((2, 2, 2, 2))


def iresnet34() -> IResNet:
    """34 M parameters."""
    return IResNet((3, 4, 6, 3))


def iresnet50() -> IResNet:
    """44 M parameters."""
    return IResNet((3, 4, 14, 3))


def iresnet100() -> IResNet:
    """65 M parameters."""
    return IResNet((3, 13, 30, 3))
