"""A whole model: what its decoder reads where nobody says it, and tables of two sizes."""

from typing import Any

import pytest
import torch

from regard.layers.ragged import Ragged
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model, shifted

BOTH: dict[str, Any] = {"kind": "encoder-decoder", "vocab_size": 10, "d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 12}
IDS = torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0]])
REAL = IDS != 0


def made(head: HeadConfig | None = None, **settings: Any) -> Model:
    torch.manual_seed(0)
    return build(ModelConfig(**BOTH | settings), head).eval()


def test_ids_move_one_place_on_behind_the_start() -> None:
    assert shifted(IDS, 3)[REAL].tolist() == [3, 5, 6, 7, 3, 8]
    assert shifted(IDS, 3, attention_mask=REAL)[REAL].tolist() == [3, 5, 6, 7, 3, 8]
    assert shifted(IDS[:1], None).tolist() == [[2, 5, 6, 7]]
    left = IDS.roll(2, 1)[1:], REAL.roll(2, 1)[1:]
    assert shifted(left[0], 3, attention_mask=left[1])[left[1]].tolist() == [3, 8]
    assert IDS[0].tolist() == [5, 6, 7, 2]


@pytest.mark.parametrize(("start", "expected"), [(3, [3, 8, 3, 5, 6, 7]), (None, [2, 8, 4, 5, 6, 7])])
def test_in_a_ragged_batch_too(start: int | None, expected: list[int]) -> None:
    flat = torch.tensor([8, 2, 5, 6, 7, 4, 0, 0])
    assert shifted(flat, start, ragged=Ragged.of([2, 4], multiple=8))[:6].tolist() == expected


def test_a_decoder_without_ids_reads_the_inputs() -> None:
    model = made(HeadConfig(n_outputs=2, pool="last"), start_id=3)
    with torch.no_grad():
        told = model(IDS, attention_mask=REAL, decoder_ids=shifted(IDS, 3, attention_mask=REAL), decoder_mask=REAL)
        assert torch.equal(model(IDS, attention_mask=REAL), told)
        assert not torch.allclose(told[0], model(IDS[:1, [1, 0, 2, 3]])[0])


def test_what_a_decoder_reads_in_a_ragged_batch_has_a_layout_of_its_own() -> None:
    model = made()
    with pytest.raises(ValueError, match="in a ragged batch as decoder_ragged says"):
        model.hidden(IDS[0], decoder_ids=IDS[0], ragged=Ragged.of([4]))
    with pytest.raises(ValueError, match="and only there"):
        model.hidden(IDS, decoder_ids=IDS, decoder_ragged=Ragged.of([4]))


@pytest.mark.parametrize("tie_head", [True, False])
def test_a_decoder_s_own_words_are_those_of_the_answer(tie_head: bool) -> None:
    head = HeadConfig(n_outputs=13, over="vocabulary", dense=False)
    model = made(head, share_embeddings=False, decoder_vocab_size=13, tie_head=tie_head)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if "tokens" in name or "out" in name}
    assert shapes.pop("head.out.weight", None) == (None if tie_head else (13, 8))
    assert shapes.pop("head.out.bias") == (13,)
    assert {name: shape for name, shape in shapes.items() if "embeddings" in name} == {
        "encoder.embeddings.tokens.weight": (10, 8),
        "decoder.embeddings.tokens.weight": (13, 8),
    }
    assert model(IDS, attention_mask=REAL, decoder_ids=torch.tensor([[12], [11]])).shape == (2, 1, 13)
