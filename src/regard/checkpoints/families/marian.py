"""Marian (Junczys-Dowmunt et al. 2018; OPUS-MT) and M2M-100 (Fan et al. 2021; NLLB): `model_type` marian and m2m_100. BART's
layers, positions that are computed and not learned, no norm of the embeddings."""

from regard.checkpoints.families.bart import FIXED, LAST_NORMS, LAYERS, MATRIX, ONLY, TABLES, TIED, VOCABULARY, WORDS, keys
from regard.checkpoints.families.family import Architecture, Family, Key, Keys
from regard.checkpoints.rules import Entry, Skip, keep

COMPUTED = "older versions store what is computed: sines and cosines"

MARIAN_BODY: tuple[Entry, ...] = (
    *TABLES,
    *LAYERS,
    keep("encoder.embed_positions.weight"),  # sines and cosines, which MarianModel stores and MarianMTModel does not
    keep("decoder.embed_positions.weight"),
)
M2M_100_BODY: tuple[Entry, ...] = (
    *TABLES,
    *LAYERS,
    *LAST_NORMS,
    Skip("encoder.embed_positions.weights", COMPUTED),
    Skip("decoder.embed_positions.weights", COMPUTED),
)

SHARING = Keys(
    names={"share_embeddings": "share_encoder_decoder_embeddings", "tie_head": "tie_word_embeddings"},
    to_ours=lambda theirs: {
        "share_embeddings": theirs.get("share_encoder_decoder_embeddings", True),
        "tie_head": theirs.get("tie_word_embeddings", True),
    },
    # where nothing is tied, `shared` is a table by itself, and there
    to_theirs=lambda ours: {
        "share_encoder_decoder_embeddings": ours["share_embeddings"] or not ours["tie_head"],
        "tie_word_embeddings": ours["tie_head"],
    },
)

MARIAN = Family(
    name="marian",
    prefix="model.",
    keys=(
        *keys(pad=58100),
        SHARING,
        Key(theirs="decoder_vocab_size", ours="decoder_vocab_size", default=None),
    ),
    fixed={**FIXED, "positions": "sinusoidal", "sinusoid": "halves", "norm_place": "post", "pad_is_zero": True},
    only=ONLY,
    base=Architecture("MarianModel", MARIAN_BODY),
    heads=(Architecture("MarianMTModel", MARIAN_BODY, WORDS, task="translation", fields=VOCABULARY),),
)
M2M_100 = Family(
    name="m2m_100",
    prefix="model.",
    keys=(
        *keys(pad=1, activation="relu", scale=True, attention_dropout=0.1),
        TIED,
        Key(theirs="pad_token_id", ours="position_offset", default=1, plus=1),  # positions are counted from the padding id
    ),
    fixed={**FIXED, "positions": "sinusoidal", "sinusoid": "fairseq", "norm_place": "pre"},
    only=ONLY,
    base=Architecture("M2M100Model", M2M_100_BODY),
    heads=(
        Architecture(
            "M2M100ForConditionalGeneration",
            M2M_100_BODY,
            (MATRIX,),
            task="translation",
            fields={**VOCABULARY, "bias": False},
        ),
    ),
)
