"""The checkpoint families that Regard reads and writes, by the `model_type` of their config.json."""

from regard.checkpoints.families.albert import ALBERT
from regard.checkpoints.families.bart import BART, MBART
from regard.checkpoints.families.bert import BERT
from regard.checkpoints.families.clip import CLIP, CLIP_TEXT, CLIP_VISION
from regard.checkpoints.families.deberta import DEBERTA_V2
from regard.checkpoints.families.distilbert import DISTILBERT
from regard.checkpoints.families.electra import ELECTRA
from regard.checkpoints.families.family import Architecture, Description, Family, Key, Keys
from regard.checkpoints.families.gpt2 import GPT2
from regard.checkpoints.families.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from regard.checkpoints.families.marian import M2M_100, MARIAN
from regard.checkpoints.families.modernbert import MODERNBERT
from regard.checkpoints.families.neox import NEOX
from regard.checkpoints.families.roberta import ROBERTA, XLM_ROBERTA
from regard.checkpoints.families.t5 import MT5, T5
from regard.checkpoints.families.vit import DEIT, VIT
from regard.checkpoints.families.wav2vec2 import HUBERT, WAV2VEC2
from regard.checkpoints.families.whisper import WHISPER
from regard.registry import Registry

FAMILIES: Registry[Family] = Registry("family", plural="families")
for _family in (
    BERT,
    ROBERTA,
    XLM_ROBERTA,
    DISTILBERT,
    ALBERT,
    ELECTRA,
    DEBERTA_V2,
    MODERNBERT,
    GPT2,
    NEOX,
    LLAMA,
    MISTRAL,
    QWEN2,
    QWEN3,
    T5,
    MT5,
    BART,
    MBART,
    MARIAN,
    M2M_100,
    WHISPER,
    WAV2VEC2,
    HUBERT,
    VIT,
    DEIT,
    CLIP,
    CLIP_TEXT,
    CLIP_VISION,
):
    FAMILIES.register(_family.name)(_family)

__all__ = ["FAMILIES", "Architecture", "Description", "Family", "Key", "Keys"]
