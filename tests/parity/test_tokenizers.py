"""The tokenizers of all families against transformers: tiny ones made here of each kind's own files, and the real ones.

Compared are ids with and without special tokens, alone and in pairs, the text they decode to, and both again after either
library saved the folder.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer, Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library
from transformers import AutoTokenizer

from regard.text import Tokenizer
from regard.text.characters import collapse
from regard.text.languages import NLLB

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

ENGLISH = """
The café opened at dawn; nobody came before noon. Nobody opened the door before noon, and the café was cold.
Prices rose 3.5% in 2024 - the highest since 1998! "It's theirs," she said, "don't you see that they're ours?"
The quick brown fox jumps over the lazy dog, while forty big wizards play jazz with quizzical vixens.
A film that is slow at first (and dull at last) can still be charming, if one of its actors is.
He wrote: we have seen 17 cities, 4 rivers and the sea; we liked the sea, the rivers, and one of the cities.
""".strip().splitlines()
CHINESE = """
我们今天去北京大学，明天再去上海。今天的北京很冷，大学的学生都在图书馆。
价格在2024年上涨了3.5%，是1998年以来的最高点！“这是他们的，”她说，“你没有看见吗？”
这部电影开头很慢（最后也很无聊），但是如果有一个演员很有魅力，它仍然可以很迷人。
他写道：我们看过十七座城市、四条河流和大海；我们喜欢大海、河流和其中的一座城市。
""".strip().splitlines()
CORPUS = ENGLISH + CHINESE

ROWS = [
    *("", " ", "  two  spaces ", "\t tab\nnewline\r\n\nend", "x" * 60),
    *(
        "Ünïcödé naïve CAFÉ",
        "１２３ ﬁ ½ ① 𠀀 👩‍🚀 e\u0301",
        "a\u200bb\u00a0c\u00ad\ufeffx",
        "不\u3000要。，全角！",
        "龘龘龘 ☃☃ a龘b",
    ),
    "it 's . don n't ? we 've , 'm ! ' s '",
    *("it's don't I'm 123456 a.b, c ?", "▁ under ▁▁x", "“quoted” ``x''", "HELLO WORLD", "$$$100%"),
    *(
        "a [MASK] b[SEP]c",
        "[CLS] a [UNK] [PAD]",
        "x <mask> y</s>z",
        "<s>hi",
        "a<unk>b <pad>",
        "the <extra_id_0> film <extra_id_99>",
    ),
    *("q <|endoftext|> r<|endoftext|>s", "<|im_start|>user\nhi<|im_end|>", "<|startoftranscript|><|en|> hi <|1.08|>"),
    *(
        "en_XX hi zh_CN",
        "__en__ hi __zh__",
        "eng_Latn hi zho_Hans",
        ">>cmn<< hello",
        ">>no<< hello",
        ">>x hello",
        "A|B <pad>C NG",
    ),
    *CORPUS,
]

LETTERS = st.sampled_from("ab cde.,'-1２ \t\n▁|<>éﬁ大学，。北🚀\u0301\u200b\u3000\xa0") | st.characters(
    exclude_categories=["Cs"]
)

FAIRSEQ = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WHISPER = [
    *("<|startoftranscript|>", "<|en|>", "<|zh|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"),
    *("<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>", "<|0.00|>", "<|1.08|>"),
]


def configure(folder: Path, **settings: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def pieces(path: Path, corpus: list[str] = CORPUS, **options: Any) -> list[str]:
    """Writes a SentencePiece file; its pieces."""
    options = {"vocab_size": 330, "hard_vocab_limit": options.get("model_type") == "bpe", **options}
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_writer=file, minloglevel=2, num_threads=1, **options
        )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.id_to_piece(index) for index in range(processor.get_piece_size())]


def bert(folder: Path, **settings: Any) -> None:
    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=400, min_frequency=1, show_progress=False)
    trained.save_model(str(folder))
    configure(folder, **{"tokenizer_class": "BertTokenizer", **settings})


def byte_bpe(folder: Path, kind: str, specials: list[str], **settings: Any) -> int:
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=500, min_frequency=1, special_tokens=specials, show_progress=False)
    trained.save_model(str(folder))
    configure(folder, tokenizer_class=f"{kind}Tokenizer", **settings)
    return trained.get_vocab_size()


def whisper(folder: Path, **settings: Any) -> None:
    size = byte_bpe(folder, "Whisper", ["<|endoftext|>"], additional_special_tokens=WHISPER[:-2], **settings)
    write_json(folder / "added_tokens.json", {token: size + index for index, token in enumerate(WHISPER)})


def qwen2(folder: Path) -> None:
    size = byte_bpe(folder, "Qwen2", [], pad_token="<|endoftext|>", eos_token="<|im_end|>")
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    write_json(folder / "added_tokens.json", {token: size + index for index, token in enumerate(tokens)})


def clip(folder: Path) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained = Library(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    trained.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    trained.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    specials = [*letters, *(f"{letter}</w>" for letter in letters)]
    trainer = trainers.BpeTrainer(vocab_size=700, end_of_word_suffix="</w>", special_tokens=specials, show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    model = json.loads(trained.to_str())["model"]
    write_json(folder / "vocab.json", numbered([*model["vocab"], "<|startoftext|>", "<|endoftext|>"]))
    merges = "\n".join(["#version: 0.2", *map(" ".join, model["merges"]), ""])
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    configure(folder, tokenizer_class="CLIPTokenizer")


def t5(folder: Path, *, pieces_of: Mapping[str, Any] = {}, **settings: Any) -> None:
    pieces(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **pieces_of)
    configure(folder, tokenizer_class="T5Tokenizer", **settings)


def albert(folder: Path, **settings: Any) -> None:
    symbols = {"control_symbols": ["[CLS]", "[SEP]", "[MASK]"], "user_defined_symbols": ["(", ")", "-"]}
    pieces(folder / "spiece.model", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, **symbols)
    configure(folder, tokenizer_class="AlbertTokenizer", **settings)


def deberta(folder: Path, **settings: Any) -> None:
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    pieces(folder / "spm.model", pad_id=0, bos_id=1, eos_id=2, unk_id=3, **names)
    configure(folder, tokenizer_class="DebertaV2Tokenizer", **settings)


def xlm_roberta(folder: Path) -> None:
    pieces(folder / "sentencepiece.bpe.model", **FAIRSEQ)
    configure(folder, tokenizer_class="XLMRobertaTokenizer")


def llama(folder: Path, **settings: Any) -> None:
    as_it_is = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "split_digits": True}
    options = {"model_type": "bpe", "byte_fallback": True, "allow_whitespace_only_pieces": True, "vocab_size": 600}
    pieces(folder / "tokenizer.model", **FAIRSEQ, **as_it_is, **options)
    configure(folder, tokenizer_class="LlamaTokenizer", **settings)


def multilingual(folder: Path, kind: str, **settings: Any) -> None:
    pieces(folder / "sentencepiece.bpe.model", **FAIRSEQ)
    configure(folder, tokenizer_class=f"{kind}Tokenizer", **settings)


def nllb(folder: Path, **settings: Any) -> None:
    size = 1 + len(pieces(folder / "sentencepiece.bpe.model", model_type="bpe", vocab_size=500, **FAIRSEQ))
    tags = {str(size + index): {"content": code, "special": True} for index, code in enumerate(NLLB.split())}
    mask = {str(size + len(tags)): {"content": "<mask>", "special": True, "lstrip": True, "normalized": True}}
    names = {"src_lang": "eng_Latn", "tgt_lang": "zho_Hans", "additional_special_tokens": NLLB.split()}
    configure(folder, tokenizer_class="NllbTokenizer", added_tokens_decoder={**tags, **mask}, **names, **settings)


def m2m100(folder: Path, **settings: Any) -> None:
    found = pieces(folder / "sentencepiece.bpe.model", model_type="bpe", vocab_size=500, **FAIRSEQ)
    write_json(folder / "vocab.json", numbered(["<s>", "<pad>", "</s>", "<unk>", *reversed(found[3:])]))
    configure(folder, tokenizer_class="M2M100Tokenizer", src_lang="en", tgt_lang="zh", **settings)


def marian(folder: Path, *, separate: bool = False, **settings: Any) -> None:
    ids = {"eos_id": 0, "unk_id": 1, "bos_id": -1, "pad_id": -1}
    source = pieces(folder / "source.spm", ENGLISH, vocab_size=150, **ids)
    target = pieces(folder / "target.spm", CHINESE, vocab_size=190, **ids)
    tags = [">>cmn<<", ">>yue<<"]
    write_json(folder / "vocab.json", numbered([*source, *([] if separate else [*target, *tags]), "<pad>"]))
    if separate:
        write_json(folder / "target_vocab.json", numbered([*target, "<pad>"]))
    names = {"source_lang": "eng", "target_lang": "zho"}
    configure(folder, tokenizer_class="MarianTokenizer", separate_vocabs=separate, **names, **settings)


def wav2vec2(folder: Path, **settings: Any) -> None:
    letters = [*(settings.get(role, token) for role, token in CTC.items()), "|", "NG", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
    write_json(folder / "vocab.json", numbered(letters))
    configure(folder, tokenizer_class="Wav2Vec2CTCTokenizer", **settings)


TIDY = {"clean_up_tokenization_spaces": True}
CTC = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

KINDS: dict[str, Callable[[Path], Any]] = {
    "bert": bert,
    "bert-cased": lambda folder: bert(folder, do_lower_case=False, tokenize_chinese_chars=False),
    "distilbert": lambda folder: bert(folder, tokenizer_class="DistilBertTokenizer"),
    "electra": lambda folder: bert(folder, tokenizer_class="ElectraTokenizer"),
    "roberta": lambda folder: byte_bpe(folder, "Roberta", ROBERTA),
    "bart": lambda folder: byte_bpe(folder, "Bart", ROBERTA, add_prefix_space=True),
    "gpt2": lambda folder: byte_bpe(folder, "GPT2", ["<|endoftext|>"]),
    "gpt2-with-bos": lambda folder: byte_bpe(folder, "GPT2", ["<|endoftext|>"], add_bos_token=True, pad_token="[PAD]"),
    "gpt-neox": lambda folder: byte_bpe(folder, "GPTNeoX", ["<|endoftext|>", "<|padding|>"]),
    "qwen2": qwen2,
    "whisper": whisper,
    "whisper-german": lambda folder: whisper(folder, language="German", task="translate", predict_timestamps=True),
    "clip": clip,
    "t5": t5,
    "mt5": lambda folder: t5(folder, pieces_of={"byte_fallback": True, "vocab_size": 600}),
    "albert": albert,
    "albert-cased": lambda folder: albert(folder, do_lower_case=False, keep_accents=True),
    "deberta-v2": deberta,
    "deberta-v2-uncased": lambda folder: deberta(folder, do_lower_case=True, split_by_punct=True),
    "xlm-roberta": xlm_roberta,
    "llama": llama,
    "llama-with-ends": lambda folder: llama(folder, add_bos_token=True, add_eos_token=True, legacy=True),
    "mbart": lambda folder: multilingual(folder, "MBart", src_lang="de_DE", tgt_lang="zh_CN"),
    "mbart50": lambda folder: multilingual(folder, "MBart50", tgt_lang="gl_ES"),
    "nllb": nllb,
    "nllb-legacy": lambda folder: nllb(folder, legacy_behaviour=True),
    "m2m100": m2m100,
    "marian": marian,
    "marian-tidied": lambda folder: marian(folder, **TIDY),
    "bert-tidied": lambda folder: bert(folder, **TIDY),
    "t5-tidied": lambda folder: t5(folder, **TIDY),
    "gpt2-tidied": lambda folder: byte_bpe(folder, "GPT2", ["<|endoftext|>"], **TIDY),
    "wav2vec2-tidied": lambda folder: wav2vec2(folder, **TIDY),
    "marian-separate": lambda folder: marian(folder, separate=True),
    "wav2vec2": wav2vec2,
    "wav2vec2-lower": lambda folder: wav2vec2(folder, do_lower_case=True, pad_token="[PAD]", unk_token="[UNK]"),
}
SIDED = ("mbart", "mbart50", "nllb", "nllb-legacy", "m2m100", "marian", "marian-separate")

REAL = ["albert-tiny-zh", "bart-g2p-en", "bert-tiny-question", "flan-t5-small-title", "ltp-tiny-electra-pos", "m3e-small"]
REAL += ["minilm-l6", "minimind2-small-zh", "opus-mt-zh-en", "smollm2-135m-instruct", "whisper-tiny"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind, made once."""
    folders: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            KINDS[kind](folders[kind])
        return folders[kind]

    return make


@pytest.fixture(scope="module")
def both(made: Callable[[str], Path]) -> dict[str, tuple[Tokenizer, Any]]:
    """Every kind as both libraries read it."""
    return {kind: (Tokenizer.load(made(kind)), AutoTokenizer.from_pretrained(made(kind))) for kind in KINDS}


def check_equal(ours: Tokenizer, theirs: Any, rows: list[str] = ROWS) -> None:
    pairs = rows[::-1]
    expected = theirs(rows)["input_ids"]
    assert ours.ids(rows)[0] == expected
    assert [row.ids for row in ours.encode(rows)] == expected
    assert [row.ids for row in ours.encode(rows, special=False)] == theirs(rows, add_special_tokens=False)["input_ids"]
    assert ours.ids(rows, pairs)[0] == theirs(rows, pairs)["input_ids"]
    for role in ("pad", "unk", "cls", "sep", "bos", "eos", "mask"):
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id"), role
    check_decoding(ours, theirs, expected + written(min(ours.vocab_size, len(theirs))))


def written(size: int) -> list[list[int]]:
    """What a bad model might write: any ids, the first and the last of them often."""
    draw = random.Random(0)
    ids = [*range(5), *range(size - 5, size), *(draw.randrange(size) for _ in range(40))]
    return [draw.choices(ids, k=draw.randrange(12)) for _ in range(80)]


def check_decoding(ours: Tokenizer, theirs: Any, rows: list[list[int]]) -> None:
    ctc = {"group_tokens": False} if "CTC" in type(theirs).__name__ else {}
    for skip in (False, True):
        text = [theirs.decode(ids, skip_special_tokens=skip, **ctc) for ids in rows]
        assert ours.decode(rows, skip_special=skip) == text


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "marian-separate"])
def test_equals_transformers(both: dict[str, tuple[Tokenizer, Any]], kind: str) -> None:
    ours, theirs = both[kind]
    check_equal(ours, theirs)
    if kind != "m2m100":  # which does not count the language tags that its model has rows for
        assert ours.vocab_size == len(theirs)


@given(texts=st.lists(st.text(LETTERS, max_size=20), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_any_text_equals_transformers(both: dict[str, tuple[Tokenizer, Any]], texts: list[str]) -> None:
    for kind, (ours, theirs) in both.items():
        assert ours.ids(texts)[0] == theirs(texts)["input_ids"], kind


@pytest.mark.parametrize("kind", SIDED)
def test_target_side_equals_transformers(made: Callable[[str], Path], kind: str) -> None:
    ours, theirs = Tokenizer.load(made(kind)), AutoTokenizer.from_pretrained(made(kind))
    rows = [row for row in ROWS if "<pad>" not in row]  # of which `transformers` takes the source's id
    expected = theirs(text_target=rows)["input_ids"]
    assert ours.target.ids(rows)[0] == expected
    assert ours.target.decode(expected) == [theirs.decode(ids, skip_special_tokens=True) for ids in expected]
    assert ours.target.target is ours.target
    if kind == "marian-separate":
        assert ours.ids(rows)[0] == theirs(rows)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_save_serves_both(made: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    ours = Tokenizer.load(made(kind))
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.encode(ROWS, ROWS[::-1]) == ours.encode(ROWS, ROWS[::-1])
    assert again.target.ids(ROWS) == ours.target.ids(ROWS)
    assert again.digest == ours.digest
    assert AutoTokenizer.from_pretrained(tmp_path)(ROWS)["input_ids"] == ours.ids(ROWS)[0]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "marian-separate"])
def test_what_they_save_loads(made: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(made(kind)).save_pretrained(tmp_path)
    check_equal(Tokenizer.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path))


@pytest.mark.parametrize("kind", ["marian", "m2m100", "mbart", "nllb", "wav2vec2", "t5", "whisper", "clip", "gpt-neox"])
def test_the_model_tells_the_kind_where_nothing_else_does(made: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    model = {"m2m100": "m2m_100", "nllb": "m2m_100", "gpt-neox": "gpt_neox"}.get(kind, kind)
    for path in made(kind).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    if kind != "nllb":  # it shares its model with M2M-100, so its settings must name it
        del settings["tokenizer_class"]
    configure(tmp_path, **settings)
    write_json(tmp_path / "config.json", {"model_type": model})
    ours = Tokenizer.load(tmp_path)
    assert ours.ids(ROWS) == Tokenizer.load(made(kind)).ids(ROWS)
    ours.save(tmp_path / "alone")
    assert Tokenizer.load(tmp_path / "alone").ids(ROWS) == ours.ids(ROWS)


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": True, "word_delimiter_token": "|"}])
def test_frames_spell_what_transformers_reads(settings: dict[str, Any], tmp_path: Path) -> None:
    wav2vec2(tmp_path, **settings)
    ours, theirs = Tokenizer.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    spelled = "HHEE<pad>L<pad>LLO||WW<pad><pad>O<pad>RLD<pad>|<pad>|D<pad>D<s>"
    frames = [ours.ids([spelled])[0][0], *ours.ids(ROWS)[0], []]
    assert ours.pad_id is not None
    heard = ours.decode([collapse(row, blank=ours.pad_id) for row in frames], skip_special=False)
    assert heard == [theirs.decode(row) for row in frames]
    assert heard[0].upper() == "HELLO WORLD  DD<S>"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.real
def test_real_ones_equal_transformers(real: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    ours, theirs = Tokenizer.load(real(name)), AutoTokenizer.from_pretrained(real(name))
    check_equal(ours, theirs)
    assert ours.vocab_size == len(theirs)
    assert ours.target.ids(ROWS)[0] == theirs(text_target=ROWS)["input_ids"]
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).digest == ours.digest
    check_equal(ours, AutoTokenizer.from_pretrained(tmp_path))
