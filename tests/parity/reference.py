"""Random models of transformers, and batches for them."""

from typing import Any

import torch
import transformers
from torch import Tensor


def random_model(architecture: str, *, std: float = 0.3, seed: int = 0, **config: Any) -> Any:
    """A random model of transformers, with weights large enough that a swapped pair would show.

    Embeddings and matrices N(0, std²); norms around 1, biases around 0, so that neither is the identity.
    """
    torch.manual_seed(seed)
    kind = getattr(transformers, architecture)
    model = kind(kind.config_class(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                parameter.add_(torch.randn_like(parameter) * std)
            elif "embed_positions" not in name or parameter.requires_grad:
                parameter.normal_(std=std)
    model.tie_weights()
    return model


def token_batch(
    vocab_size: int, *, rows: int = 3, tokens: int = 9, low: int = 3, types: int = 0, seed: int = 1
) -> dict[str, Tensor]:
    """Ids from `low` on, rows of very different lengths padded on the right with 0s."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(low, vocab_size, (rows, tokens), generator=generator)
    lengths = torch.tensor([tokens, 2, *([tokens // 2 + 1] * (rows - 2))])[:rows]
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    batch = {"inputs": ids, "attention_mask": mask}
    if types:
        batch["type_ids"] = torch.randint(0, types, (rows, tokens), generator=generator)
    return batch
