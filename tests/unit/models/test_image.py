"""The front end for images equals the embeddings of `transformers`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from regard.layers.norms import LayerNorm
from regard.models.image import PatchEmbeddings

WIDTH = 24
SIZES = [(12, 4, 3), (13, 4, 1), (6, 6, 3), (8, 1, 2)]
"""Image size, patch size, channels: also a remainder that no patch covers, one patch, patches of one pixel."""


def shaken(module: Any) -> Any:
    """Their random module with no parameter at 0, for prediction."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return module.eval()


def adopt(ours: PatchEmbeddings, patches: Any, prefix: list[Tensor], positions: Tensor) -> None:
    """Fill all our parameters but the norm's."""
    ours.patches.load_state_dict(patches.state_dict())
    for mine, theirs in zip(ours.prefix, prefix, strict=True):
        mine.data.copy_(theirs.flatten())
    assert positions.numel() == ours.positions.weight.numel()
    ours.positions.weight.data.copy_(positions.view_as(ours.positions.weight))


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def pixels(image_size: int, channels: int) -> Tensor:
    return torch.randn(2, channels, image_size, image_size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("image_size", "patch_size", "channels"), SIZES)
@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_vits_and_deits_embeddings(kind: str, image_size: int, patch_size: int, channels: int) -> None:
    sizes = {"image_size": image_size, "patch_size": patch_size, "num_channels": channels, "hidden_size": WIDTH}
    theirs: Any
    if kind == "vit":
        theirs = shaken(hf.ViTModel(hf.ViTConfig(**sizes, num_hidden_layers=0, num_attention_heads=2)).embeddings)
        prefix = [theirs.cls_token]
    else:
        theirs = shaken(hf.DeiTModel(hf.DeiTConfig(**sizes, num_hidden_layers=0, num_attention_heads=2)).embeddings)
        prefix = [theirs.cls_token, theirs.distillation_token]
    ours = PatchEmbeddings(image_size, patch_size, channels, WIDTH, n_prefix=len(prefix)).eval()
    adopt(ours, theirs.patch_embeddings.projection, prefix, theirs.position_embeddings)
    images = pixels(image_size, channels)
    close(ours(images), theirs(images))


@pytest.mark.parametrize(("image_size", "patch_size", "channels"), SIZES)
def test_clips_embeddings(image_size: int, patch_size: int, channels: int) -> None:
    config = hf.CLIPVisionConfig(
        image_size=image_size,
        patch_size=patch_size,
        num_channels=channels,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    theirs: Any = shaken(hf.CLIPVisionModel(config))
    theirs = getattr(theirs, "vision_model", theirs)
    ours = PatchEmbeddings(image_size, patch_size, channels, WIDTH, bias=False, norm=LayerNorm(WIDTH)).eval()
    embeddings = theirs.embeddings
    adopt(ours, embeddings.patch_embedding, [embeddings.class_embedding], embeddings.position_embedding.weight)
    assert ours.norm is not None
    ours.norm.load_state_dict(theirs.pre_layrnorm.state_dict())
    images = pixels(image_size, channels)
    close(ours(images), theirs.pre_layrnorm(embeddings(images)))


def test_patches_lie_row_by_row_behind_the_prefix() -> None:
    ours = PatchEmbeddings(4, 2, 1, 1, n_prefix=1)
    with torch.no_grad():
        ours.patches.weight.fill_(1.0)
        nn.init.zeros_(ours.patches.bias)  # type: ignore[arg-type]
        ours.prefix[0].fill_(7.0)
        ours.positions.weight.copy_(torch.tensor([[0.0], [100], [200], [300], [400]]))
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert ours(image)[0, :, 0].tolist() == [7, 110, 218, 342, 450]


def test_the_dtype_is_the_inputs_and_every_parameter_learns() -> None:
    ours = PatchEmbeddings(4, 2, 3, 8, n_prefix=2, norm=LayerNorm(8))
    images = pixels(4, 3)
    half = ours(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), ours(images), atol=0.1, rtol=0.1)
    ours(images).square().sum().backward()
    assert [name for name, parameter in ours.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("shape", [(1, 3, 8, 6), (1, 1, 8, 8), (1, 3, 16, 16), (3, 8, 8)])
def test_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"where the model takes \(3, 8, 8\): resize them"):
        PatchEmbeddings(8, 2, 3, 4)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchEmbeddings(8, 9, 3, 4), "patch_size=9 must not exceed image_size=8"),
        (lambda: PatchEmbeddings(8, 2, 3, 4, n_prefix=-1), "n_prefix=-1 must be at least 0"),
        (lambda: PatchEmbeddings(8, 0, 3, 4), "patch_size=0 must be at least 1"),
        (lambda: PatchEmbeddings(8, 2, 0, 4), "channels=0 must be at least 1"),
        (lambda: PatchEmbeddings(8, 2, 3, 0), "d_model=0 must be at least 1"),
    ],
)
def test_wrong_sizes_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_model_may_have_no_prefix() -> None:
    assert PatchEmbeddings(8, 2, 3, 4, n_prefix=0)(torch.zeros(2, 3, 8, 8)).shape == (2, 16, 4)
