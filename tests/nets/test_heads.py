import torch
from torch import nn

from gate.nets.heads import Crfiqa, DiffiqaR, Ediffiqa
from gate.nets.iresnet import iresnet18
from gate.nets.mobilefacenet import mobilefacenet


def _names_beside(net: nn.Module, base: nn.Module, prefix: str) -> dict[str, tuple[int, ...]]:
    inside = {prefix + name for name in base.state_dict()}
    names = net.state_dict()
    assert inside <= set(names)
    return {name: tuple(tensor.shape) for name, tensor in names.items() if name not in inside}


def test_heads_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        base, small = iresnet18(), mobilefacenet()
        distilled, linear, ranked = Ediffiqa(small), DiffiqaR(base), Crfiqa((2, 2, 2, 2))
    assert _names_beside(distilled, small, "base_model.") == {
        "mlp.l1.weight": (1024, 512),
        "mlp.l1.bias": (1024,),
        "mlp.l2.weight": (1, 1024),
        "mlp.l2.bias": (1,),
    }
    assert _names_beside(linear, base, "base.") == {"linear.weight": (1, 512), "linear.bias": (1,)}
    assert _names_beside(ranked, base, "") == {"qs.weight": (1, 512), "qs.bias": (1,)}


def test_ediffiqa_is_two_layers_with_gelu_and_no_squashing() -> None:
    net = Ediffiqa(nn.Flatten()).eval()
    x = torch.randn(3, 512, generator=torch.Generator().manual_seed(1))
    net.mlp.l2.bias.data.fill_(7.0)
    with torch.inference_mode():
        hidden = x @ net.mlp.l1.weight.T + net.mlp.l1.bias
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
        wanted = hidden @ net.mlp.l2.weight[0] + 7.0
        torch.testing.assert_close(net(x), wanted)
        embedding, quality = net.embed_and_score(x)
    assert torch.equal(embedding, x)
    torch.testing.assert_close(quality, wanted)


def test_crfiqa_reads_the_embedding_before_any_normalisation() -> None:
    net = Crfiqa((1, 1, 1, 1)).eval()
    x = torch.linspace(-1, 1, 3 * 112 * 112).reshape(1, 3, 112, 112)
    with torch.inference_mode():
        embedding = net.head(net.trunk(x))
        torch.testing.assert_close(net(x), embedding @ net.qs.weight[0] + net.qs.bias)
