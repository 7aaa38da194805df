"""Tokenizers of many languages: tags by name, source and target one by one, and settings that travel."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from regard.errors import CheckpointError, ConfigError
from regard.text import Tokenizer
from regard.text.languages import M2M100, MBART50, NLLB, WMT21

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

FAIRSEQ = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
TEXTS = ["The café opened at dawn.", "我们去北京。", ""]


def pieces(path: Path, corpus: list[str], **options: Any) -> list[str]:
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus * 5),
            model_writer=file,
            minloglevel=2,
            **{"vocab_size": 200, "hard_vocab_limit": False, **FAIRSEQ, **options},
        )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.id_to_piece(index) for index in range(processor.get_piece_size())]


@pytest.fixture(scope="module")
def folder(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder of a kind, with more settings."""
    unigram, bpe = (tmp_path_factory.mktemp(name) / "sentencepiece.bpe.model" for name in ("unigram", "bpe"))
    pieces(unigram, corpus)
    table = ["<s>", "<pad>", "</s>", "<unk>", *pieces(bpe, corpus, model_type="bpe", hard_vocab_limit=True)[3:]]

    def make(kind: str, **settings: Any) -> Path:
        path = tmp_path_factory.mktemp(kind)
        model = bpe if kind in ("M2M100", "Nllb") else unigram
        (path / model.name).write_bytes(model.read_bytes())
        if kind == "M2M100":
            (path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(table)}))
        (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": f"{kind}Tokenizer", **settings}))
        return path

    return make


@pytest.fixture(scope="module")
def marian(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("marian")
    ids = {"eos_id": 0, "unk_id": 1, "bos_id": -1}
    tokens = [*pieces(path / "source.spm", corpus[:2], **ids), *pieces(path / "target.spm", corpus[2:4], **ids)]
    tokens = list(dict.fromkeys([*tokens, ">>cmn<<", ">>yue<<", "<pad>"]))
    (path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer"}')
    return path


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [("MBart", "de_DE", "zh_CN"), ("MBart50", "pt_XX", "gl_ES"), ("M2M100", "de", "zh")],
)
def test_each_side_has_its_language(
    folder: Callable[..., Path], kind: str, source: str, target: str, tmp_path: Path
) -> None:
    path = folder(kind)
    theirs = AutoTokenizer.from_pretrained(path, src_lang=source, tgt_lang=target)
    plain = Tokenizer.load(path)
    ours = plain.for_language(source)
    assert ours.ids(TEXTS)[0] == theirs(TEXTS)["input_ids"]
    assert ours.target.for_language(target).ids(TEXTS)[0] == theirs(text_target=TEXTS)["input_ids"]
    # A target that names no language follows the source, as there.
    assert ours.target.ids(TEXTS) == ours.ids(TEXTS)
    assert plain.for_language("en_XX" if kind != "M2M100" else "en").ids(TEXTS) == plain.ids(TEXTS)
    assert ours.language_id(target) == theirs.convert_tokens_to_ids(f"__{target}__" if kind == "M2M100" else target)
    both = plain.for_language(source).target.for_language(target)
    both.save(tmp_path)
    assert Tokenizer.load(tmp_path).target.ids(TEXTS) == both.ids(TEXTS)
    assert Tokenizer.load(tmp_path).ids(TEXTS) == ours.ids(TEXTS)
    assert Tokenizer.load(tmp_path).target.digest == both.digest
    assert len({plain.digest, ours.digest, ours.target.digest, both.digest}) == 4


def test_languages_are_listed_in_the_order_of_their_ids(folder: Callable[..., Path]) -> None:
    for kind, codes in (("MBart50", MBART50), ("M2M100", M2M100), ("Nllb", NLLB)):
        ours = Tokenizer.load(folder(kind))
        assert ours.languages == tuple(codes.split())
        numbers = [ours.language_id(code) for code in ours.languages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [len(codes.split()) for codes in (MBART50, M2M100, NLLB)] == [52, 100, 202]
    ours = Tokenizer.load(folder("M2M100", language_codes="wmt21"))
    assert ours.languages == tuple(WMT21.split())


def test_nllb_puts_the_mask_behind_its_languages(folder: Callable[..., Path]) -> None:
    ours = Tokenizer.load(folder("Nllb"))
    assert ours.mask_id == ours.language_id("zul_Latn") + 1 == ours.vocab_size - 1
    (ids,), _, _ = ours.ids([""])
    assert ours.tokens(ids) == ["eng_Latn", "</s>"]
    old = Tokenizer.load(folder("Nllb", legacy_behaviour=True, src_lang="fra_Latn"))
    assert old.tokens(old.ids([""])[0][0]) == ["</s>", "fra_Latn"]
    more = Tokenizer.load(folder("Nllb", additional_special_tokens=["bar_Latn", "<other>"]))
    assert more.languages[-1] == "bar_Latn"
    assert more.tokens(more.for_language("bar_Latn").ids([""])[0][0]) == ["bar_Latn", "</s>"]


def test_marian_is_told_what_to_write(marian: Path, tmp_path: Path) -> None:
    ours, theirs = Tokenizer.load(marian), AutoTokenizer.from_pretrained(marian)
    assert ours.languages == ("cmn", "yue")
    tagged = ours.for_language("yue")
    texts = [text for text in TEXTS if text]
    assert tagged.ids(texts)[0] == theirs([f">>yue<< {text}" for text in texts])["input_ids"]
    assert tagged.ids(texts)[0] == ours.ids([f">>yue<< {text}" for text in texts])[0]
    assert tagged.target.ids(TEXTS) == ours.target.ids(TEXTS)
    (row,) = ours.encode([">>yue<< Nobody"])
    assert row.offsets[:2] == [(0, 7), (8, 14)] or row.offsets[0] == (0, 7)
    tagged.save(tmp_path)
    assert Tokenizer.load(tmp_path).ids(TEXTS) == tagged.ids(TEXTS)
    assert Tokenizer.load(tmp_path).digest == tagged.digest != ours.digest
    with pytest.raises(ConfigError, match="no language 'yue': this tokenizer has no language tags"):
        ours.target.for_language("yue")


@pytest.mark.real
def test_whisper_hears_a_language(checkpoint: Callable[[str], Path]) -> None:
    ours, theirs = Tokenizer.load(checkpoint("whisper-tiny")), AutoTokenizer.from_pretrained(checkpoint("whisper-tiny"))
    assert len(ours.languages) == 99
    for word, code in (("de", "de"), ("Chinese", "zh"), ("haitian creole", "ht")):
        theirs.set_prefix_tokens(language=word, task="transcribe")
        spoken = ours.for_language(word.replace(" ", "_"))
        assert spoken.ids(TEXTS)[0] == theirs(TEXTS)["input_ids"]
        assert ours.language_id(code) == ours.id_of(f"<|{code}|>")
    start = ["<|startoftranscript|>", "<|ht|>", "<|transcribe|>", "<|notimestamps|>"]
    assert spoken.tokens(spoken.ids(["a"])[0][0])[:4] == start
    assert ours.target is ours
    assert ours.decode([[ours.id_of("<|1.08|>"), *ours.encode(["hi"], special=False)[0].ids]]) == ["hi"]


def test_a_tokenizer_of_one_language(wordpiece: Tokenizer) -> None:
    assert wordpiece.languages == ()
    assert wordpiece.target is wordpiece
    for ask in (wordpiece.language_id, wordpiece.for_language):
        with pytest.raises(ConfigError, match="no language 'de': this tokenizer has no language tags"):
            ask("de")


def test_mistakes(folder: Callable[..., Path], marian: Path) -> None:
    ours = Tokenizer.load(folder("MBart"))
    with pytest.raises(ConfigError, match=r"no language 'de'\n  allowed: ar_AR, cs_CZ, de_DE"):
        ours.for_language("de")
    with pytest.raises(ConfigError, match=r"no language 'zh_TW'\n(.|\n)*fix: did you mean 'zh_CN'\?"):
        ours.language_id("zh_TW")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: key 'src_lang' is 'xx_XX'\n  allowed: ar_AR"):
        Tokenizer.load(folder("MBart", src_lang="xx_XX"))
    with pytest.raises(CheckpointError, match=r"key 'tgt_lang' is 7\n  allowed: a text or null"):
        Tokenizer.load(folder("M2M100", tgt_lang=7))
