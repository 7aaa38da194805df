"""The kinds of tokenizer that a folder can name, and the special tokens that each takes for granted."""

from __future__ import annotations

from collections.abc import Mapping

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""What a special token can be for; `tokenizer_config.json` says `pad_token` and so on. New ones get ids in this order."""

BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
DEBERTA = {**BERT, "bos": "[CLS]", "eos": "[SEP]"}
ALBERT = {**DEBERTA, "pad": "<pad>", "unk": "<unk>"}
ROBERTA = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
GPT2 = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}
SEQ2SEQ = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"}
LLAMA = {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}
T5 = {"pad": "<pad>", "unk": "<unk>", "eos": "</s>"}

SPECIALS: Mapping[str, Mapping[str, str]] = {
    "Bert": BERT,
    "Roberta": ROBERTA,
    "XLMRoberta": ROBERTA,
    "Albert": ALBERT,
    "DebertaV2": DEBERTA,
    "GPT2": GPT2,
    "GPTNeoX": {**GPT2, "pad": "<|padding|>"},
    "Qwen2": {"eos": "<|endoftext|>", "unk": "<|endoftext|>", "pad": "<|endoftext|>"},
    "Llama": LLAMA,
    "T5": T5,
    "Marian": T5,
    "MBart": ROBERTA,
    "MBart50": {role: token for role, token in ROBERTA.items() if role != "bos"},
    "M2M100": {**SEQ2SEQ, "sep": "</s>"},
    "Nllb": ROBERTA,
    "Whisper": GPT2,
    "CLIP": {**GPT2, "bos": "<|startoftext|>", "pad": "<|endoftext|>"},
    "Wav2Vec2CTC": SEQ2SEQ,
}
"""Kind (`tokenizer_class` without its ending) -> role -> token, where the files name no other."""

SAME = {
    "DistilBert": "Bert",
    "Electra": "Bert",
    "Bart": "Roberta",
    "Longformer": "Roberta",
    "LED": "Roberta",
    "MT5": "T5",
    "Hubert": "Wav2Vec2CTC",
}
"""Names of one kind under another."""

GENERIC = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")
"""Values of `tokenizer_class` that name no kind: the files say everything."""

OF_MODEL = {
    "albert": "Albert",
    "bart": "Roberta",
    "bert": "Bert",
    "clip": "CLIP",
    "deberta-v2": "DebertaV2",
    "distilbert": "Bert",
    "electra": "Bert",
    "gpt2": "GPT2",
    "gpt_neox": "GPTNeoX",
    "hubert": "Wav2Vec2CTC",
    "llama": "Llama",
    "m2m_100": "M2M100",
    "marian": "Marian",
    "mbart": "MBart",
    "mistral": "Llama",
    "mt5": "T5",
    "qwen2": "Qwen2",
    "qwen3": "Qwen2",
    "roberta": "Roberta",
    "t5": "T5",
    "wav2vec2": "Wav2Vec2CTC",
    "whisper": "Whisper",
    "xlm-roberta": "XLMRoberta",
}
"""`model_type` of `config.json` -> kind, for folders whose `tokenizer_config.json` has no `tokenizer_class`."""

CONVENTIONS = (
    (("[CLS]", "[SEP]"), BERT),
    (("<s>", "</s>", "<mask>"), ROBERTA),
    (("<|endoftext|>",), GPT2),
    (("</s>",), SEQ2SEQ),
)
"""The field's habits: a vocabulary that holds these tokens means them so."""
