"""Regard's stacks equal the references: torch's own layers and `transformers`, on tiny random models, to 1e-5."""

from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from regard.layers.attention import Attention
from regard.layers.block import Block, Look
from regard.layers.feedforward import FeedForward
from regard.layers.positions import RelativePositions, alibi_slopes
from regard.models.build import build
from regard.models.config import ModelConfig
from regard.models.model import Model
from regard.models.stack import Stack

BATCH, TOKENS, VOCABULARY, WIDTH, HEADS, INNER, LAYERS = 3, 9, 37, 24, 4, 40, 2
REAL = torch.arange(TOKENS) < torch.tensor([9, 4, 6])[:, None]
COMMON = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "n_heads": HEADS,
    "d_ff": INNER,
    "n_layers": LAYERS,
    "max_positions": 32,
}


def reference(kind: Any, config: Any) -> Any:
    """A random model of theirs in which no bias is 0 and no norm is 1."""
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def ids(seed: int = 1, tokens: int = TOKENS) -> Tensor:
    return torch.randint(3, VOCABULARY, (BATCH, tokens), generator=torch.Generator().manual_seed(seed))


def adopt(ours: Any, theirs: Any, *, transpose: bool = False) -> None:
    """Copy weight and bias of one module; both must have a bias, or none."""
    weight = theirs.weight.T if transpose else theirs.weight
    assert ours.weight.shape == weight.shape
    ours.weight.data.copy_(weight)
    if getattr(theirs, "bias", None) is None:
        assert getattr(ours, "bias", None) is None
    else:
        ours.bias.data.copy_(theirs.bias)


def adopt_parts(attention: Attention, weight: Tensor, bias: Tensor | None) -> None:
    """Queries, keys and values from one tensor of (3 * width, width)."""
    for i, projection in enumerate((attention.q_proj, attention.k_proj, attention.v_proj)):
        projection.weight.data.copy_(weight.chunk(3)[i])
        if bias is not None:
            projection.bias.data.copy_(bias.chunk(3)[i])


def stack_of(model: Model) -> Any:
    """The only stack; Any, since the tests walk its parts by name."""
    stack = model.encoder or model.decoder
    assert isinstance(stack, Stack)
    return stack


def equal(ours: Tensor, theirs: Tensor, real: Tensor = REAL) -> None:
    assert ours.shape == theirs.shape
    assert theirs[real].std() > 0.1
    torch.testing.assert_close(ours[real], theirs[real], atol=1e-5, rtol=1e-5)


# ---- torch's own layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pre", [False, True])
def test_a_block_is_torchs_encoder_and_decoder_layer(pre: bool) -> None:
    torch.manual_seed(0)
    x, memory = torch.randn(BATCH, TOKENS, WIDTH), torch.randn(BATCH, 5, WIDTH)
    theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, INNER, dropout=0.0, norm_first=pre, batch_first=True)
    block = Block(
        WIDTH,
        attention=Attention(WIDTH, HEADS),
        cross_attention=Attention(WIDTH, HEADS),
        feedforward=FeedForward(WIDTH, INNER, activation="relu"),
        norm_place="pre" if pre else "post",
    )
    for ours, attention in ((block.attention, theirs.self_attn), (block.cross_attention, theirs.multihead_attn)):
        adopt_parts(ours, attention.in_proj_weight, attention.in_proj_bias)
        adopt(ours.o_proj, attention.out_proj)
    adopt(block.feedforward.up_proj, theirs.linear1)
    adopt(block.feedforward.down_proj, theirs.linear2)
    for norm, other in (
        (block.attention_norm, theirs.norm1),
        (block.cross_attention_norm, theirs.norm2),
        (block.feedforward_norm, theirs.norm3),
    ):
        with torch.no_grad():
            other.weight.uniform_(0.5, 1.5)
            other.bias.uniform_(-0.5, 0.5)
        adopt(norm, other)
    look = Look(mask=REAL[:, None, None], memory=memory, memory_mask=REAL[:, None, None, :5])
    equal(
        block(x, look),
        theirs(x, memory, tgt_key_padding_mask=~REAL, memory_key_padding_mask=~REAL[:, :5]),
        torch.ones_like(REAL),
    )


# ---- transformers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [TOKENS, 120])
def test_bert(tokens: int) -> None:
    theirs = reference(
        lambda config: hf.BertModel(config, add_pooling_layer=False),
        hf.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=INNER,
            max_position_embeddings=128,
        ),
    )
    config = COMMON | {"max_positions": 128}
    model = build(ModelConfig(norm_place="post", embedding_norm=True, n_types=2, norm_eps=1e-12, **config)).eval()
    stack = stack_of(model)
    adopt(stack.embeddings.tokens, theirs.embeddings.word_embeddings)
    adopt(stack.embeddings.positions, theirs.embeddings.position_embeddings)
    adopt(stack.embeddings.types, theirs.embeddings.token_type_embeddings)
    adopt(stack.embeddings.norm, theirs.embeddings.LayerNorm)
    for ours, layer in zip(stack.layers, theirs.encoder.layer, strict=True):
        for name in ("q", "k", "v"):
            full = {"q": "query", "k": "key", "v": "value"}[name]
            adopt(getattr(ours.attention, f"{name}_proj"), getattr(layer.attention.self, full))
        adopt(ours.attention.o_proj, layer.attention.output.dense)
        adopt(ours.attention_norm, layer.attention.output.LayerNorm)
        adopt(ours.feedforward.up_proj, layer.intermediate.dense)
        adopt(ours.feedforward.down_proj, layer.output.dense)
        adopt(ours.feedforward_norm, layer.output.LayerNorm)
    real = torch.arange(tokens) < torch.tensor([tokens, tokens - 5, 4])[:, None]
    inputs, types = ids(tokens=tokens), ids(2, tokens) % 2
    expected = theirs(inputs, attention_mask=real.long(), token_type_ids=types).last_hidden_state
    equal(model.hidden(inputs, attention_mask=real, type_ids=types), expected, real)
    equal(model.hidden(inputs), theirs(inputs).last_hidden_state, torch.ones_like(real))


def test_gpt2() -> None:
    theirs = reference(
        hf.GPT2Model,
        hf.GPT2Config(vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=INNER, n_positions=32),
    )
    model = build(ModelConfig(kind="decoder", activation="gelu-tanh", **COMMON)).eval()
    stack = stack_of(model)
    adopt(stack.embeddings.tokens, theirs.wte)
    adopt(stack.embeddings.positions, theirs.wpe)
    adopt(stack.norm, theirs.ln_f)
    for ours, layer in zip(stack.layers, theirs.h, strict=True):
        adopt(ours.attention_norm, layer.ln_1)
        adopt_parts(ours.attention, layer.attn.c_attn.weight.T, layer.attn.c_attn.bias)
        adopt(ours.attention.o_proj, layer.attn.c_proj, transpose=True)
        adopt(ours.feedforward_norm, layer.ln_2)
        adopt(ours.feedforward.up_proj, layer.mlp.c_fc, transpose=True)
        adopt(ours.feedforward.down_proj, layer.mlp.c_proj, transpose=True)
    expected = theirs(ids(), attention_mask=REAL.long()).last_hidden_state
    equal(model.hidden(ids(), attention_mask=REAL), expected)


def test_llama() -> None:
    theirs = reference(
        hf.LlamaModel,
        hf.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=2,
            intermediate_size=INNER,
            max_position_embeddings=32,
            rms_norm_eps=1e-6,
        ),
    )
    model = build(
        ModelConfig(
            kind="decoder",
            positions="rotary",
            norm="rms",
            norm_eps=1e-6,
            gated=True,
            activation="silu",
            bias=False,
            n_kv_heads=2,
            **COMMON,
        )
    ).eval()
    stack = stack_of(model)
    adopt(stack.embeddings.tokens, theirs.embed_tokens)
    adopt(stack.norm, theirs.norm)
    for ours, layer in zip(stack.layers, theirs.layers, strict=True):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            adopt(getattr(ours.attention, name), getattr(layer.self_attn, name))
        for name in ("gate_proj", "up_proj", "down_proj"):
            adopt(getattr(ours.feedforward, name), getattr(layer.mlp, name))
        adopt(ours.attention_norm, layer.input_layernorm)
        adopt(ours.feedforward_norm, layer.post_attention_layernorm)
    expected = theirs(ids(), attention_mask=REAL.long()).last_hidden_state
    equal(model.hidden(ids(), attention_mask=REAL), expected)


def test_bloom() -> None:
    theirs = reference(
        hf.BloomModel, hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=6)
    )  # 6 heads: slopes of no power of two
    config = COMMON | {"n_heads": 6, "d_ff": 4 * WIDTH}
    model = build(
        ModelConfig(kind="decoder", positions="alibi", embedding_norm=True, activation="gelu-tanh", **config)
    ).eval()
    stack = stack_of(model)
    adopt(stack.embeddings.tokens, theirs.word_embeddings)
    adopt(stack.embeddings.norm, theirs.word_embeddings_layernorm)
    adopt(stack.norm, theirs.ln_f)
    for ours, layer in zip(stack.layers, theirs.h, strict=True):
        packed = layer.self_attention.query_key_value  # (heads, 3, d_head) of each
        weight = packed.weight.view(6, 3, 4, WIDTH).transpose(0, 1).reshape(-1, WIDTH)
        adopt_parts(ours.attention, weight, packed.bias.view(6, 3, 4).transpose(0, 1).flatten())
        adopt(ours.attention.o_proj, layer.self_attention.dense)
        adopt(ours.attention_norm, layer.input_layernorm)
        adopt(ours.feedforward_norm, layer.post_attention_layernorm)
        adopt(ours.feedforward.up_proj, layer.mlp.dense_h_to_4h)
        adopt(ours.feedforward.down_proj, layer.mlp.dense_4h_to_h)
    expected = theirs(ids(), attention_mask=REAL.long()).last_hidden_state
    equal(model.hidden(ids(), attention_mask=REAL), expected)


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20])
def test_alibi_slopes(heads: int) -> None:
    slopes = torch.tensor(alibi_slopes(heads))
    bloom = build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(slopes, bloom)
    if heads & (heads - 1) == 0:  # MPT fills up other numbers of heads in its own order
        torch.testing.assert_close(slopes, -build_mpt_alibi_tensor(heads, 2)[:, 0, 0])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20), (16, 64), (10, 50), (64, 256)])
def test_relative_buckets(buckets: int, distance: int, bidirectional: bool) -> None:
    offsets = torch.arange(-600, 601)
    theirs = T5Attention._relative_position_bucket(offsets, bidirectional, buckets, distance)
    ours = RelativePositions(1, buckets=buckets, distance=distance, bidirectional=bidirectional).bucket(offsets)
    assert torch.equal(ours, theirs)


def test_t5() -> None:
    theirs = reference(
        hf.T5Model,
        hf.T5Config(
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            d_kv=5,
            d_ff=INNER,
            num_layers=LAYERS,
            num_heads=HEADS,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=20,
            feed_forward_proj="gated-gelu",
        ),
    )
    model = build(
        ModelConfig(
            kind="encoder-decoder",
            positions="relative",
            d_head=5,
            norm="rms",
            norm_eps=1e-6,
            bias=False,
            gated=True,
            activation="gelu-tanh",
            relative_buckets=8,
            relative_distance=20,
            **COMMON,
        )
    ).eval()

    def adopt_attention(ours: Any, attention: Any) -> None:
        for name in "qkvo":
            adopt(getattr(ours, f"{name}_proj"), getattr(attention, name))
        ours.scale = 1.0  # T5 folds the scale into its initial weights

    for stack, other in ((model.encoder, theirs.encoder), (model.decoder, theirs.decoder)):
        adopt(stack.embeddings.tokens, theirs.shared)
        adopt(stack.norm, other.final_layer_norm)
        adopt(stack.score_bias.table, other.block[0].layer[0].SelfAttention.relative_attention_bias)
        for ours, block in zip(stack.layers, other.block, strict=True):
            adopt_attention(ours.attention, block.layer[0].SelfAttention)
            adopt(ours.attention_norm, block.layer[0].layer_norm)
            if stack is model.decoder:
                adopt_attention(ours.cross_attention, block.layer[1].EncDecAttention)
                adopt(ours.cross_attention_norm, block.layer[1].layer_norm)
            adopt(ours.feedforward.gate_proj, block.layer[-1].DenseReluDense.wi_0)
            adopt(ours.feedforward.up_proj, block.layer[-1].DenseReluDense.wi_1)
            adopt(ours.feedforward.down_proj, block.layer[-1].DenseReluDense.wo)
            adopt(ours.feedforward_norm, block.layer[-1].layer_norm)
    target = ids(2, 6)
    expected = theirs(ids(), attention_mask=REAL.long(), decoder_input_ids=target)
    equal(model.encoder(ids(), attention_mask=REAL), expected.encoder_last_hidden_state)
    ours = model.hidden(ids(), attention_mask=REAL, decoder_ids=target)
    equal(ours, expected.last_hidden_state, torch.ones_like(target, dtype=torch.bool))


def adopt_seq2seq(model: Model, theirs: Any, order: Tensor) -> None:
    """BART's and Marian's names; `order` is the order in which ours has their hidden features."""
    with torch.no_grad():
        for stack, other in ((model.encoder, theirs.encoder), (model.decoder, theirs.decoder)):
            stack.embeddings.tokens.weight.copy_(other.embed_tokens.weight[:, order])
            for ours, layer in zip(stack.layers, other.layers, strict=True):
                pairs = [(ours.attention, layer.self_attn)]
                norms = [(ours.attention_norm, layer.self_attn_layer_norm), (ours.feedforward_norm, layer.final_layer_norm)]
                if stack is model.decoder:
                    pairs.append((ours.cross_attention, layer.encoder_attn))
                    norms.append((ours.cross_attention_norm, layer.encoder_attn_layer_norm))
                inward = [
                    (getattr(mine, f"{name}_proj"), getattr(their, f"{name}_proj"))
                    for mine, their in pairs
                    for name in "qkv"
                ]
                outward = [(mine.o_proj, their.out_proj) for mine, their in pairs]
                for mine, their in [*inward, (ours.feedforward.up_proj, layer.fc1)]:
                    mine.weight.copy_(their.weight[:, order])
                    mine.bias.copy_(their.bias)
                for mine, their in [*outward, (ours.feedforward.down_proj, layer.fc2), *norms]:
                    mine.weight.copy_(their.weight[order])
                    mine.bias.copy_(their.bias[order])


SEQ2SEQ = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": INNER,
    "max_position_embeddings": 32,
}


def equal_seq2seq(model: Model, theirs: Any, order: Tensor) -> None:
    target, shown = ids(2, 6), REAL[:, :6]
    expected = theirs(
        ids(), attention_mask=REAL.long(), decoder_input_ids=target, decoder_attention_mask=shown.long(), use_cache=False
    )
    equal(model.encoder(ids(), attention_mask=REAL), expected.encoder_last_hidden_state[..., order])
    ours = model.hidden(ids(), attention_mask=REAL, decoder_ids=target, decoder_mask=shown)
    equal(ours, expected.last_hidden_state[..., order], shown)


def test_bart() -> None:
    theirs = reference(hf.BartModel, hf.BartConfig(activation_function="gelu", pad_token_id=1, **SEQ2SEQ))
    model = build(
        ModelConfig(kind="encoder-decoder", norm_place="post", embedding_norm=True, position_offset=2, **COMMON)
    ).eval()
    order = torch.arange(WIDTH)
    adopt_seq2seq(model, theirs, order)
    for stack, other in ((model.encoder, theirs.encoder), (model.decoder, theirs.decoder)):
        adopt(stack.embeddings.positions, other.embed_positions)
        adopt(stack.embeddings.norm, other.layernorm_embedding)
    equal_seq2seq(model, theirs, order)


def test_marian() -> None:
    config = hf.MarianConfig(
        activation_function="swish", scale_embedding=True, pad_token_id=1, decoder_start_token_id=1, **SEQ2SEQ
    )
    theirs = reference(hf.MarianModel, config)
    for stack in (theirs.encoder, theirs.decoder):  # `reference` moved the fixed sines as well
        stack.embed_positions.weight.data.copy_(stack.embed_positions.create_weight())
    model = build(
        ModelConfig(
            kind="encoder-decoder",
            norm_place="post",
            positions="sinusoidal",
            embedding_scale=True,
            activation="silu",
            **COMMON,
        )
    ).eval()
    # Marian has all sines first and then all cosines, the paper has them in turn
    order = torch.arange(WIDTH).view(2, -1).T.flatten()
    adopt_seq2seq(model, theirs, order)
    equal_seq2seq(model, theirs, order)
