import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gate.errors import WeightsError
from gate.nets.unet import (
    ChannelLayerNorm,
    CosineAttention,
    LinearAttention,
    SinusoidalEmbedding,
    Unet,
    WeightStandardisedConv2d,
    dim_of,
    unet_state,
)

BUFFERS = ("betas", "alphas_cumprod", "posterior_variance")


@pytest.fixture
def drawn() -> Iterator[torch.Generator]:
    """Seeds what torch initialises, and puts the global generator back."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield torch.Generator().manual_seed(8)


def _named(dim: int = 16) -> dict[str, Tensor]:
    return Unet(dim).state_dict()


def test_tensors_of_the_published_size_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Unet().state_dict().items()}
    published = {
        "init_conv.weight": (128, 3, 7, 7),
        "time_mlp.1.weight": (512, 128),
        "time_mlp.3.bias": (512,),
        "downs.0.0.mlp.1.weight": (256, 512),
        "downs.0.0.block1.proj.weight": (128, 128, 3, 3),
        "downs.0.2.fn.norm.g": (1, 128, 1, 1),
        "downs.0.2.fn.fn.to_qkv.weight": (384, 128, 1, 1),
        "downs.0.2.fn.fn.to_out.0.weight": (128, 128, 1, 1),
        "downs.0.2.fn.fn.to_out.1.g": (1, 128, 1, 1),
        "downs.1.3.weight": (256, 128, 4, 4),
        "downs.3.3.weight": (1024, 512, 3, 3),
        "mid_block1.block2.norm.weight": (1024,),
        "mid_attn.fn.fn.to_out.weight": (1024, 128, 1, 1),
        "mid_block2.block1.proj.bias": (1024,),
        "ups.0.0.res_conv.weight": (1024, 1536, 1, 1),
        "ups.0.3.1.weight": (512, 1024, 3, 3),
        "ups.3.1.block1.proj.weight": (128, 256, 3, 3),
        "ups.3.3.weight": (128, 128, 3, 3),
        "final_res_block.block1.proj.weight": (128, 256, 3, 3),
        "final_conv.weight": (3, 128, 1, 1),
    }
    assert {name: shapes[name] for name in published} == published
    assert "mid_attn.fn.fn.to_qkv.bias" not in shapes
    assert "downs.0.0.res_conv.weight" not in shapes
    # 19 residual blocks of 10 tensors and 9 shortcuts of 2, 8 linear attentions of 5, the full one of 4, 8 convolutions
    # between levels and four parts at the ends of 2 each.
    assert len(shapes) == 276


def test_images_of_a_batch_do_not_see_each_other(drawn: torch.Generator) -> None:
    net = Unet(16).eval()
    x = torch.randn((3, 3, 8, 16), generator=drawn)
    index = torch.tensor([4, 0, 900])
    with torch.inference_mode():
        together = net(x, index)
        alone = torch.cat([net(x[i : i + 1], index[i : i + 1]) for i in range(3)])
    assert together.shape == x.shape
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_time_index_changes_the_prediction(drawn: torch.Generator) -> None:
    net = Unet(16).eval()
    x = torch.randn((1, 3, 16, 16), generator=drawn)
    with torch.inference_mode():
        assert not torch.allclose(net(x, torch.tensor([0])), net(x, torch.tensor([4])), atol=1e-4)


def test_baking_changes_no_number_and_a_second_time_nothing(drawn: torch.Generator) -> None:
    net = Unet(16).eval()
    x, index = torch.randn((2, 3, 16, 16), generator=drawn), torch.tensor([4, 2])
    with torch.inference_mode():
        before = net(x, index)
        net.bake()
        once = net(x, index)
        net.bake()
        twice = net(x, index)
    torch.testing.assert_close(once, before, rtol=0, atol=1e-6)
    assert torch.equal(once, twice)


def test_standardised_kernels_have_no_mean_and_unit_spread(drawn: torch.Generator) -> None:
    conv = WeightStandardisedConv2d(8, 5, 3, padding=1)
    nn.init.normal_(conv.weight, mean=3, std=2, generator=drawn)
    conv.bake()
    torch.testing.assert_close(conv.weight.mean(dim=(1, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(conv.weight.std(dim=(1, 2, 3), correction=0), torch.ones(5), rtol=0, atol=1e-4)


def test_layer_norm_is_over_the_channels_of_each_pixel(drawn: torch.Generator) -> None:
    x = torch.randn((2, 6, 3, 4), generator=drawn) * 4 + 1
    norm = ChannelLayerNorm(6)
    wanted = nn.functional.layer_norm(x.movedim(1, -1), (6,)).movedim(-1, 1)
    torch.testing.assert_close(norm(x), wanted, rtol=0, atol=1e-5)


def test_linear_attention_weighs_every_pixel_as_its_formula_says(drawn: torch.Generator) -> None:
    attention = LinearAttention(8).eval()
    x = torch.randn((1, 8, 2, 3), generator=drawn)
    q, k, v = attention.to_qkv(x).reshape(3, 4, 32, 6)
    wanted = torch.zeros(4, 32, 6)
    for head, pixel in itertools.product(range(4), range(6)):
        weights = (q[head, :, pixel].softmax(0) / math.sqrt(32)) @ k[head].softmax(-1)
        wanted[head, :, pixel] = (v[head] / 6) @ weights
    wanted = attention.to_out(wanted.reshape(1, 128, 2, 3))
    torch.testing.assert_close(attention(x), wanted, rtol=0, atol=1e-5)


def test_cosine_attention_ignores_the_length_of_queries_and_keys(drawn: torch.Generator) -> None:
    attention = CosineAttention(8).eval()
    x = torch.randn((1, 8, 2, 3), generator=drawn)
    before = attention(x)
    with torch.no_grad():
        attention.to_qkv.weight[:256] *= 3
    torch.testing.assert_close(attention(x), before, rtol=0, atol=1e-5)


def test_cosine_attention_sharpens_similarity_tenfold(drawn: torch.Generator) -> None:
    attention = CosineAttention(8).eval()
    x = torch.randn((1, 8, 2, 3), generator=drawn)
    q, k, v = attention.to_qkv(x).reshape(3, 4, 32, 6)
    similarity = nn.functional.cosine_similarity(q[:, :, :, None], k[:, :, None, :], dim=1)
    wanted = torch.einsum("hij,hdj->hdi", (10 * similarity).softmax(dim=-1), v)
    torch.testing.assert_close(attention(x), attention.to_out(wanted.reshape(1, 128, 2, 3)), rtol=0, atol=1e-5)


def test_sinusoidal_embedding_spans_one_to_a_ten_thousandth() -> None:
    embedding = SinusoidalEmbedding(8)(torch.tensor([0, 3]))
    frequencies = [1, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4]
    wanted = [math.sin(3 * f) for f in frequencies] + [math.cos(3 * f) for f in frequencies]
    torch.testing.assert_close(embedding[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    torch.testing.assert_close(embedding[1], torch.tensor(wanted))


@pytest.mark.parametrize("prefix", ["", "model.", "module.model.", "model.module."])
def test_raw_weights_are_found_behind_any_wrapper(prefix: str) -> None:
    state = _named()
    published = {prefix + name: tensor for name, tensor in state.items()}
    published |= {prefix.removesuffix("model.") + name: torch.zeros(1000) for name in BUFFERS}
    found = unet_state(published, where="file")
    assert found.keys() == state.keys()
    assert all(found[name] is tensor for name, tensor in state.items())
    assert dim_of(found, where="file") == 16


def test_averaged_weights_are_taken_only_when_asked_for() -> None:
    raw, averaged = _named(), _named()
    both = {f"online_model.model.{name}": tensor for name, tensor in raw.items()}
    both |= {f"ema_model.model.{name}": tensor for name, tensor in averaged.items()}
    both["initted"] = torch.tensor(True)
    assert unet_state(both, where="file")["final_conv.bias"] is raw["final_conv.bias"]
    assert unet_state(both, where="file", ema=True)["final_conv.bias"] is averaged["final_conv.bias"]


@pytest.mark.parametrize(("ema", "kept"), [(False, "ema_model"), (True, "online_model")])
def test_weights_of_the_other_kind_are_not_taken_instead(ema: bool, kept: str) -> None:
    only = {f"{kept}.{name}": tensor for name, tensor in _named().items()}
    with pytest.raises(WeightsError, match=rf"unet\.pt: .*only {kept}"):
        unet_state(only, where="unet.pt", ema=ema)


def test_a_checkpoint_of_another_network_is_named() -> None:
    with pytest.raises(WeightsError, match=r"unet\.pt: no raw U-Net weights.*another network"):
        unet_state({"conv1.weight": torch.zeros(1)}, where="unet.pt")


@pytest.mark.parametrize("shape", [(12, 3, 7, 7), (8, 3, 7, 7), (16, 1, 7, 7), (16, 3, 3, 3), (16,)])
def test_a_first_convolution_of_no_such_network_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match=r"unet\.pt: init_conv\.weight is \("):
        dim_of({"init_conv.weight": torch.zeros(shape)}, where="unet.pt")
