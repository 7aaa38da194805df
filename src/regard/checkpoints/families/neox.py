"""GPT-NeoX (Black et al. 2022), also of Pythia: rotary positions on a part of each head, sublayers side by side."""

from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key
from regard.checkpoints.families.gpt2 import WORDS, reading_heads
from regard.checkpoints.families.rope import ONLY, rope
from regard.checkpoints.rules import Entry, Rule, Skip, Split, affine, norm

LAYER, OURS = "layers.{}", "decoder.layers.{}"
QKV = (f"{OURS}.attention.q_proj", f"{OURS}.attention.k_proj", f"{OURS}.attention.v_proj")

BODY: tuple[Entry, ...] = (
    Rule("embed_in.weight", "decoder.embeddings.tokens.weight"),
    *norm(f"{LAYER}.input_layernorm", f"{OURS}.attention_norm"),
    *(
        Split(
            f"{LAYER}.attention.query_key_value.{kind}", tuple(f"{name}.{kind}" for name in QKV), per="num_attention_heads"
        )
        for kind in ("weight", "bias")
    ),
    *affine(f"{LAYER}.attention.dense", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.post_attention_layernorm", f"{OURS}.feedforward_norm"),
    *affine(f"{LAYER}.mlp.dense_h_to_4h", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.mlp.dense_4h_to_h", f"{OURS}.feedforward.down_proj"),
    *norm("final_layer_norm", "decoder.norm"),
    Skip(f"{LAYER}.attention.bias", "a buffer of older versions: the causal mask"),
    Skip(f"{LAYER}.attention.masked_bias", "a buffer of older versions: the score of what is masked"),
    Skip(f"{LAYER}.attention.rotary_emb.inv_freq", "a buffer of older versions: rotary frequencies"),
)

NEOX = Family(
    name="gpt_neox",
    prefix="gpt_neox.",
    keys=(
        Key(theirs="vocab_size", ours="vocab_size"),
        Key(theirs="hidden_size", ours="d_model"),
        Key(theirs="num_hidden_layers", ours="n_layers"),
        Key(theirs="num_attention_heads", ours="n_heads"),
        Key(theirs="intermediate_size", ours="d_ff"),
        Key(theirs="max_position_embeddings", ours="max_positions", default=2048),
        Key(theirs="hidden_act", ours="activation", default="gelu", values=ACTIVATIONS),
        Key(theirs="layer_norm_eps", ours="norm_eps", default=1e-5),
        Key(theirs="use_parallel_residual", ours="parallel", default=True),
        Key(theirs="attention_bias", ours="attention_bias", default=True, values={True: "all", False: "none"}),
        Key(theirs="hidden_dropout", ours="dropout", default=0.0),
        Key(theirs="attention_dropout", ours="attention_dropout", default=0.0),
        Key(theirs="pad_token_id", ours="pad_id", default=0),
        Key(theirs="tie_word_embeddings", ours="tie_head", default=False),
        rope(2048, base="rotary_emb_base", share="rotary_pct", default_share=0.25),
    ),
    fixed={"kind": "decoder", "positions": "rotary", "norm": "layer"},
    only={**ONLY, "quantization_config": ()},
    base=Architecture("GPTNeoXModel", BODY),
    heads=(
        Architecture(
            "GPTNeoXForCausalLM",
            BODY,
            (Rule("embed_out.weight", "head.out.weight", also=("lm_head.weight",)),),
            task="text-generation",
            fields=WORDS,
        ),
        *reading_heads("GPTNeoX", BODY),
    ),
)
