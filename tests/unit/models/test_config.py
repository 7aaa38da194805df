"""A ModelConfig is whole and consistent, or it is refused with the reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from regard.models.config import ModelConfig

SMALL: dict[str, Any] = {"vocab_size": 10, "d_model": 12, "n_layers": 2, "n_heads": 4, "d_ff": 16}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_heads": 5}, r"n_heads=5 does not divide d_model=12: set d_head, or use one of \[1, 2, 3, 4, 6, 12\] heads"),
        ({"n_kv_heads": 3}, "n_kv_heads=3 does not divide n_heads=4"),
        ({"positions": "rotary"}, "the head width 3 must be even"),
        ({"positions": "relative", "relative_buckets": 2}, "relative_buckets=2 must be at least 4"),
        ({"positions": "relative", "relative_distance": 16}, "half of them below relative_distance=16"),
        ({"n_decoder_layers": 2}, "n_decoder_layers belongs to an encoder-decoder, and this is kind='encoder'"),
        ({"decoder_vocab_size": 9}, "decoder_vocab_size belongs to an encoder-decoder"),
        ({"start_id": 1}, "start_id belongs to an encoder-decoder"),
        ({"kind": "encoder-decoder", "decoder_vocab_size": 9}, "decoder_vocab_size=9 must be vocab_size=10, or the token"),
        ({"kind": "encoder-decoder", "start_id": 10}, "start_id=10 is not below vocab_size=10"),
        ({"pad_id": 10}, "pad_id=10 is not below vocab_size=10"),
        ({"d_model": 0}, "d_model\n.*greater than or equal to 1"),
        ({"dropout": 1.0}, "dropout\n.*less than 1"),
        ({"heads": 4}, "heads\n.*not permitted"),
        ({"norm": "batch"}, "norm\n.*'layer' or 'rms'"),
        ({"disentangled": {"distance": 3, "buckets": 4}}, "half of buckets=4 must be below distance=3 less 1"),
        ({"disentangled": {"distance": 3, "terms": ()}}, "disentangled.terms\n.*at least 1 item"),
        ({"disentangled": {"distance": 3}, "kind": "decoder"}, "belong to an encoder, and this is kind='decoder'"),
        ({"convolution": {"kernel": 3}, "kind": "encoder-decoder"}, "belong to an encoder"),
        ({"convolution": {"kernel": 2}}, "kernel=2 must be odd"),
        ({"convolution": {"kernel": 3, "groups": 5}}, "groups=5 must divide d_model=12"),
        ({"n_unique_layers": 3}, "n_unique_layers=3 does not divide n_layers=2"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**SMALL | wrong)


def test_what_is_not_given_is_resolved() -> None:
    config = ModelConfig(**SMALL)
    assert (config.head_width, config.kv_heads, config.decoder_layers) == (3, 4, 2)
    config = ModelConfig(**SMALL | {"kind": "encoder-decoder", "d_head": 5, "n_kv_heads": 2, "n_decoder_layers": 1})
    assert (config.head_width, config.kv_heads, config.decoder_layers) == (5, 2, 1)
    assert config.target_vocab_size == 10
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
