import torch
from torch import nn

from gate.nets.mobilefacenet import mobilefacenet


def test_layers_are_the_published_ones() -> None:
    net = mobilefacenet()
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 49
    assert sum(isinstance(m, nn.BatchNorm1d) for m in net.modules()) == 1
    assert sum(p.numel() for p in net.parameters()) == 1_200_512
    tops = [name for name, _ in net.named_children()]
    assert tops == [
        "conv1", "conv2_dw", "conv_23", "conv_3", "conv_34", "conv_4",
        "conv_45", "conv_5", "conv_6_sep", "conv_6_dw", "linear", "bn",
    ]  # fmt: skip
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert shapes["conv_3.model.3.conv_dw.conv.weight"] == (128, 1, 3, 3)
    assert shapes["conv_45.project.conv.weight"] == (128, 512, 1, 1)
    assert shapes["conv_6_dw.conv.weight"] == (512, 1, 7, 7)
    assert shapes["linear.weight"] == (512, 512)


def test_embeddings_have_unit_length() -> None:
    net = mobilefacenet().eval()
    x = torch.linspace(-1, 1, 2 * 3 * 112 * 112).reshape(2, 3, 112, 112)
    with torch.inference_mode():
        embedding = net(x)
        raw = net.head(net.trunk(x))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(embedding, raw / raw.norm(dim=1, keepdim=True))
