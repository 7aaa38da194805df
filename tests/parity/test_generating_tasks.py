"""Tasks that write, hear and see against transformers: the same answers from real checkpoints and random models, in any
batch."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.parity.reference import random_model

import regard
from regard.checkpoints import load
from regard.data.audio import read_audio
from regard.errors import DataError
from regard.models.build import filled
from regard.tasks.sound import pieces
from regard.tasks.translation import Translation
from regard.text import Tokenizer, train_tokenizer

TEXTS = ["a fine film", "an ugly song that nobody wants to hear again", "the end", "clever and warm"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([*TEXTS, "a b c d e f g"] * 3, kind="bpe", vocab_size=300)


def saved(model: Any, tokenizer: Tokenizer | None, folder: Path, **files: dict[str, Any]) -> Path:
    """A folder of transformers with our tokenizer and other files, by name without the ending."""
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save(folder)
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def written(model: Any, rows: Sequence[Sequence[int]], **settings: Any) -> list[list[int]]:
    """What theirs generates for each row alone, without the row."""
    texts = []
    for row in rows:
        ids = model.generate(torch.tensor([list(row)]), do_sample=False, **settings)[0].tolist()
        texts.append(ids if model.config.is_encoder_decoder else ids[len(row) :])
    return texts


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}),
        (
            "LlamaForCausalLM",
            {
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
            },
        ),
    ],
)
def test_a_decoder_goes_on_as_theirs_does(architecture: str, config: dict[str, Any], tokenizer: Tokenizer, tmp_path: Path):
    ends = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    model = random_model(architecture, vocab_size=tokenizer.vocab_size, **ends, **config)
    rules = {"eos_token_id": [2, 3], "max_new_tokens": 12, "suppress_tokens": [5, 7]}
    folder = saved(model, tokenizer, tmp_path / "theirs", generation_config=rules)
    predictor = regard.load(folder, precision="float32")
    rows = tokenizer.ids(TEXTS)[0]
    theirs = type(model).from_pretrained(folder).eval()
    expected = [[index for index in row if index not in (2, 3)] for row in written(theirs, rows, pad_token_id=0)]
    answers = [answer["generated"] for answer in predictor.predict(TEXTS)]
    assert answers == tokenizer.decode(expected)
    assert len(set(answers)) > 1
    assert [predictor.predict([text])[0]["generated"] for text in TEXTS] == answers
    with pytest.raises(DataError, match="an empty text") if not tokenizer.ids([""])[0][0] else pytest.MonkeyPatch.context():
        predictor.predict([""])


@pytest.mark.parametrize("architecture", ["T5ForConditionalGeneration", "BartForConditionalGeneration", "MarianMTModel"])
def test_an_encoder_decoder_writes_what_theirs_does(architecture: str, tokenizer: Tokenizer, tmp_path: Path):
    sizes: dict[str, Any] = {"d_model": 16, "vocab_size": tokenizer.vocab_size, "pad_token_id": 1, "eos_token_id": 2}
    if architecture.startswith("T5"):
        sizes |= {"d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    else:
        for side in ("encoder", "decoder"):
            sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
        sizes |= {"max_position_embeddings": 40, "forced_eos_token_id": None}
    model = random_model(architecture, decoder_start_token_id=1, **sizes)
    rules = {
        "decoder_start_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "max_length": 14,
        "bad_words_ids": [[6], [8, 9]],
    }
    folder = saved(model, tokenizer, tmp_path / "theirs", generation_config=rules)
    theirs = type(model).from_pretrained(folder).eval()
    expected = [[i for i in row if i not in (1, 2)] for row in written(theirs, tokenizer.ids(TEXTS)[0])]
    predictor = regard.load(folder, precision="float32")
    name = "translation" if architecture.startswith("Marian") else "generated"
    answers = [answer[name] for answer in predictor.predict(TEXTS)]
    assert answers == tokenizer.target.decode(expected)
    assert len(set(answers)) > 1
    assert [predictor.predict([text])[0][name] for text in TEXTS] == answers
    with pytest.raises(DataError, match="tokens\n  allowed: at most"):
        predictor.predict(["a fine film " * 600])


@pytest.mark.real
def test_a_chat_model_answers_as_theirs(real: Callable[[str], Path]):
    folder = real("smollm2-135m-instruct")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    question = "What is the capital of France?"
    chat = [{"role": "user", "content": question}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        found = theirs.generate(**ids, do_sample=False, max_new_tokens=40)[0, ids["input_ids"].shape[1] :]
    answer = regard.load(folder, precision="float32").predict([question])[0]["generated"]
    assert answer == tokenizer.decode(found, skip_special_tokens=True)
    assert "Paris" in answer


@pytest.mark.real
def test_a_translator_translates_as_theirs(real: Callable[[str], Path]):
    folder = real("opus-mt-zh-en")
    sentences = [
        "我明天要去北京开会。",
        "不",
        "今天天气很好，我们去公园散步吧。",
        "他说他不知道这本书是谁写的，也不知道是什么时候出版的。",
    ]
    theirs = transformers.MarianMTModel.from_pretrained(folder, dtype=torch.float32).eval()
    ours = Tokenizer.load(folder)
    with torch.inference_mode():
        rows = written(theirs, ours.ids(sentences)[0])
    expected = ours.target.decode([[index for index in row if index not in (0, 65000)] for row in rows])
    answers = [answer["translation"] for answer in regard.load(folder, precision="float32").predict(sentences)]
    assert answers == expected
    assert "Beijing" in answers[0]


@pytest.mark.real
def test_whisper_hears_what_theirs_hears(real: Callable[[str], Path], shared: Path):
    folder = real("whisper-tiny")
    clips = [str(path) for path in sorted((shared / "data/librivox").glob("sense*.wav"))[:2]]
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    answers = regard.load(folder, precision="float32").predict(clips)
    for clip, answer in zip(clips, answers, strict=True):
        features = processor(read_audio(clip, rate=16000), sampling_rate=16000, return_tensors="pt").input_features
        with torch.inference_mode():
            ids = theirs.generate(features, do_sample=False, num_beams=1, task="transcribe")
        assert answer["text"].strip() == processor.decode(ids[0], skip_special_tokens=True).strip()
        assert answer["language"] == "<|en|>"
    assert "John Dashwood" in answers[0]["text"]


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_ctc_model_spells_what_theirs_spells(norm: str, tmp_path: Path):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 12}
    shape = {"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_conv_pos_embeddings": 16}
    model = random_model(
        "Wav2Vec2ForCTC", feat_extract_norm=norm, num_conv_pos_embedding_groups=2, pad_token_id=0, **sizes, **shape
    )
    with torch.no_grad():
        model.lm_head.bias.zero_()  # so that frames differ
        model.wav2vec2.encoder.layers.apply(
            lambda part: part.reset_parameters() if hasattr(part, "reset_parameters") else None
        )
        model.lm_head.bias[1] = -1e3  # what stands for unknown letters is no letter: each library writes it in its own way
    letters = {token: i for i, token in enumerate(["<pad>", "<unk>", "|", *"abcdefghi"])}
    settings = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "word_delimiter_token": "|",
    }
    features = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "sampling_rate": 16000}
    folder = saved(model, None, tmp_path / "theirs", vocab=letters, tokenizer_config=settings, preprocessor_config=features)
    soundfile = pytest.importorskip("soundfile")
    random = np.random.default_rng(0)
    clips = [str(tmp_path / f"{n}.wav") for n in (1600, 2345, 900)]
    for clip in clips:
        soundfile.write(clip, random.normal(size=int(Path(clip).stem)).clip(-1, 1) * 0.3, 16000)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    answers = regard.load(folder, precision="float32").predict(clips)
    for clip, answer in zip(clips, answers, strict=True):
        values = extractor(read_audio(clip, rate=16000), sampling_rate=16000, return_tensors="pt").input_values
        with torch.inference_mode():
            assert answer["text"] == tokenizer.decode(model(values).logits[0].argmax(-1))
    assert len({answer["text"] for answer in answers}) > 1


def test_images_are_classified_and_compared_with_texts_as_theirs_do(tokenizer: Tokenizer, tmp_path: Path):
    pillow = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path in paths:
        pillow.fromarray(random.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vit = random_model("ViTForImageClassification", image_size=32, patch_size=8, num_labels=3, **tower)
    features = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    folder = saved(vit, None, tmp_path / "vit", preprocessor_config=features)
    prepared = transformers.ViTImageProcessorPil.from_pretrained(folder)
    pixels = prepared([pillow.open(path) for path in paths], return_tensors="pt").pixel_values
    with torch.inference_mode():
        expected = vit(pixels).logits.softmax(-1)
    answers = regard.load(folder, precision="float32").predict(paths)
    torch.testing.assert_close(torch.tensor([list(a["scores"].values()) for a in answers]), expected, atol=1e-4, rtol=0)
    assert [answer["label"] for answer in answers] == [f"LABEL_{i}" for i in expected.argmax(-1)]

    text = {**tower, "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 40, "eos_token_id": 1}
    clip = random_model("CLIPModel", text_config=text, vision_config={**tower, "image_size": 32, "patch_size": 8})
    features = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": 32}
    folder = saved(clip, tokenizer, tmp_path / "clip", preprocessor_config=features)
    predictor = regard.load(folder, precision="float32")
    choices = ["a fine film", "an ugly song"]
    found = predictor.predict(paths, choices=[choices, choices])
    assert [list(answer["scores"]) for answer in found] == [choices, choices]
    assert all(sum(answer["scores"].values()) == pytest.approx(1, abs=1e-5) for answer in found)
    assert predictor.predict(paths[1:], choices=[choices]) == [
        {
            **found[1],
            "scores": pytest.approx(found[1]["scores"], abs=1e-5),
            "score": pytest.approx(found[1]["score"], abs=1e-5),
        }
    ]
    with pytest.raises(DataError, match="1 choices\n  allowed: two or more"):
        predictor.predict(paths[:1], choices=[["a film"]])
    with pytest.raises(DataError, match="no such file"):
        predictor.predict([str(tmp_path / "none.png")], choices=[choices])


def test_long_recordings_are_cut_where_it_is_quiet():
    rate = 100
    loud = np.ones(10 * rate, dtype=np.float32)
    loud[7 * rate : 8 * rate] = 0.0
    parts = list(pieces(loud, rate, 9.0))
    assert [len(part) for part in parts] == [
        pytest.approx(7.5 * rate, abs=0.5 * rate),
        pytest.approx(2.5 * rate, abs=0.5 * rate),
    ]
    assert np.array_equal(np.concatenate(parts), loud)
    assert [len(part) for part in pieces(loud, rate, 10.0)] == [10 * rate]


def test_recordings_are_classified_as_theirs_are(tmp_path: Path):
    soundfile = pytest.importorskip("soundfile")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape = {"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_conv_pos_embeddings": 16}
    more = {"num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8, "num_labels": 3}
    model = random_model("Wav2Vec2ForSequenceClassification", **sizes, **shape, **more)
    features = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "sampling_rate": 16000}
    folder = saved(model, None, tmp_path / "theirs", preprocessor_config=features)
    clips = [str(tmp_path / f"{n}.wav") for n in (1600, 2345)]
    random = np.random.default_rng(0)
    for clip in clips:
        soundfile.write(clip, random.normal(size=int(Path(clip).stem)).clip(-1, 1) * 0.3, 16000)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    for clip, answer in zip(clips, regard.load(folder, precision="float32").predict(clips), strict=True):
        values = extractor(read_audio(clip, rate=16000), sampling_rate=16000, return_tensors="pt").input_values
        with torch.inference_mode():
            expected = model(values).logits.softmax(-1)[0]
        torch.testing.assert_close(torch.tensor(list(answer["scores"].values())), expected, atol=1e-4, rtol=0)
        assert answer["label"] == f"LABEL_{int(expected.argmax())}"
    with pytest.raises(DataError, match="no such file"):
        regard.load(folder).predict([str(tmp_path / "none.wav")])


class Tagged:
    """A tokenizer of many languages, whose tags are the ids 5 (de) and 6 (fr); the source's stands before a text."""

    languages = ("de", "fr")
    pair = None
    eos_id = 2

    def __init__(self, tokenizer: Tokenizer, source: int | None = None) -> None:
        self._tokenizer, self._source = tokenizer, source

    @property
    def target(self) -> "Tagged":
        return Tagged(self._tokenizer)

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return self._tokenizer.decode(rows)

    def language_id(self, language: str) -> int:
        return {"de": 5, "fr": 6}[language]

    def for_language(self, language: str) -> "Tagged":
        return Tagged(self._tokenizer, self.language_id(language))

    def ids(self, texts: list[str]) -> tuple[list[list[int]], None, None]:
        tag = [] if self._source is None else [self._source]
        return [[*tag, *row] for row in self._tokenizer.ids(texts)[0]], None, None


def test_a_translation_goes_into_the_language_that_is_asked_for(tokenizer: Tokenizer):
    sizes: dict[str, Any] = {"d_model": 16, "vocab_size": tokenizer.vocab_size, "pad_token_id": 1, "eos_token_id": 2}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    theirs = random_model("M2M100ForConditionalGeneration", max_position_embeddings=40, decoder_start_token_id=2, **sizes)
    tagged: Any = Tagged(tokenizer)
    task = Translation.from_settings({"generation": {"decoder_start_token_id": 2, "eos_token_id": 2, "max_length": 9}})
    rows = [
        {"text": TEXTS[0], "target_language": "fr", "source_language": "de"},
        {"text": TEXTS[1], "target_language": "de", "source_language": ""},
        {"text": TEXTS[2], "target_language": "fr", "source_language": "de"},
    ]
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        loaded = load(folder)
        model = filled(loaded.config, loaded.head, loaded.tensors)
        answers = task.answers(model, rows, tagged, max_length=30, dtype=torch.float32)
    for row, answer in zip(rows, answers, strict=True):
        reading = tagged.for_language(row["source_language"]) if row["source_language"] else tagged
        forced = tagged.language_id(row["target_language"])
        (ids,) = written(theirs, reading.ids([row["text"]])[0], forced_bos_token_id=forced, max_length=9)
        assert answer["translation"] == tokenizer.decode([[index for index in ids if index != 2]])[0]
    assert not list(task.faults(rows, tagged, max_length=30))
    wrong = [{"text": "a", "target_language": "es"}, {"text": "a"}]
    found = [(fault.row, fault.column, fault.problem.what) for fault in task.faults(wrong, tagged, max_length=30)]
    assert found == [
        (0, "target_language", "unknown language 'es'"),
        (1, "target_language", "which language to translate into?"),
    ]
