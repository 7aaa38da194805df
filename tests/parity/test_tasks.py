"""What the tasks answer, against the pipelines of transformers and, where it has none, against its models."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tests.parity.reference import random_model
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers
from transformers.pipelines.document_question_answering import select_starts_ends

from regard.predictor import Predictor, load
from regard.tasks import question_answering
from regard.text import Tokenizer, train_tokenizer

TEXTS = (
    "George Washington lived at Mount Vernon in Virginia.",
    "Vernon lived in George, Virginia; at 3.5% Washingtonian-liveliness!",
    "乔治住在弗农山庄。 Virginia 的 George",
    "virginiawashington",
)
PLACES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SHAPES: dict[str, dict[str, Any]] = {
    "Bert": {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2},
    "DistilBert": {"dim": 16, "hidden_dim": 24, "n_heads": 2, "n_layers": 2},
}
SHAPES["Roberta"] = {**SHAPES["Bert"], "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}


def wordpiece(folder: Path) -> None:
    train_tokenizer(TEXTS * 3, kind="wordpiece", vocab_size=90, lower_case=True).save(folder)


def byte_level(folder: Path) -> None:
    """RoBERTa's, with a mask that takes the space before it."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=350, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    roles = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>", "bos": "<s>", "eos": "</s>"}
    named = {f"{role}_token": token for role, token in roles.items()}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


VOCABULARIES: dict[str, Callable[[Path], None]] = {"Bert": wordpiece, "DistilBert": wordpiece, "Roberta": byte_level}


class Both:
    """One random model as both libraries load it."""

    def __init__(self, folder: Path, architecture: str, **config: Any) -> None:
        family = architecture.partition("For")[0]
        VOCABULARIES[family](folder)
        vocab_size = Tokenizer.load(folder).vocab_size + 3  # rows to spare, as many checkpoints have
        positions = {"max_position_embeddings": 80}
        model = random_model(architecture, vocab_size=vocab_size, **positions, **SHAPES[family], **config)
        model.save_pretrained(folder)
        self.model = model
        self.ours: Predictor = load(folder, precision="float32")
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if family == "Bert" else [])]
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, model_input_names=names, model_max_length=80)

    def pipeline(self, task: str, **settings: Any) -> Any:
        return transformers.pipeline(task, model=self.model, tokenizer=self.tokenizer, device="cpu", **settings)


def labelled(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-5)


# token-classification


def pipeline_entities(pipeline: Any, text: str) -> list[tuple[Any, ...]]:
    return [(each["entity_group"], near(each["score"]), each["start"], each["end"]) for each in pipeline(text)]


def our_entities(parts: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(part["label"], part["score"], part["start"], part["end"]) for part in parts]


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
@pytest.mark.parametrize("seed", [0, 1])
def test_entities(family: str, seed: int, tmp_path: Path) -> None:
    both = Both(tmp_path, f"{family}ForTokenClassification", seed=seed, **labelled(PLACES))
    pipeline = both.pipeline("token-classification", aggregation_strategy="first")
    found = both.ours.predict(TEXTS)
    assert sum(len(answer["entities"]) for answer in found) > 3
    for text, answer in zip(TEXTS, found, strict=True):
        assert our_entities(answer["entities"]) == pipeline_entities(pipeline, text)
        assert all(part["text"] == text[part["start"] : part["end"]] for part in answer["entities"])


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_entities_of_a_byte_level_vocabulary(tmp_path: Path) -> None:
    """Words alone are compared, each one token: theirs go on over punctuation, and a bare space is one."""
    both = Both(tmp_path, "RobertaForTokenClassification", **labelled(PLACES))
    pipeline = both.pipeline("token-classification", aggregation_strategy="first")
    text = "George Washington lived at Mount Vernon in Virginia"
    (answer,) = both.ours.predict([text])
    assert our_entities(answer["entities"]) == pipeline_entities(pipeline, text) != []


def test_tags_of_given_words(tmp_path: Path) -> None:
    """Each word has the label of its first token."""
    both = Both(tmp_path, "BertForTokenClassification", **labelled(("n", "v", "w")))
    words = [["George", "virginiawashington", "3.5%", "住在"], ["Vernon"]]
    for row, answer in zip(words, both.ours.predict(tokens=words), strict=True):
        batch = both.tokenizer(row, is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            scores = both.model(**batch).logits[0].softmax(-1)
        firsts = [batch.word_ids().index(word) for word in range(len(row))]
        assert [part["text"] for part in answer["tokens"]] == row
        expected = [("nvw"[int(scores[place].argmax())], near(float(scores[place].max()))) for place in firsts]
        assert [(part["label"], part["score"]) for part in answer["tokens"]] == expected


# fill-mask


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta"])
def test_masks(family: str, tmp_path: Path) -> None:
    both = Both(tmp_path, f"{family}ForMaskedLM")
    pipeline = both.pipeline("fill-mask")
    mask = both.tokenizer.mask_token
    texts = [f"George {mask} lived", f"{mask} 住在", f"at {mask} Mount {mask} in {mask}.", mask]
    for text, answer in zip(texts, both.ours.predict(texts), strict=True):
        theirs = pipeline(text)
        theirs = theirs if isinstance(theirs[0], list) else [theirs]
        assert len(answer["candidates"]) == len(theirs) == text.count(mask)
        for ours, kept in zip(answer["candidates"], theirs, strict=True):
            known = [each for each in kept if each["token"] < len(both.tokenizer)]
            assert [each["score"] for each in ours[: len(known)]] == [near(each["score"]) for each in known]
            spelt = [each["token_str"].strip() or both.tokenizer.convert_ids_to_tokens(each["token"]) for each in known]
            assert [each["token"] for each in ours[: len(known)]] == spelt
            assert all(each["text"].count(mask) == text.count(mask) - 1 for each in ours if each["token"] != mask)


# question-answering


def reference_spans(both: Both, question: str, context: str, *, window: int, stride: int) -> list[tuple[Any, ...]]:
    """(score, start, end) of whole words, the best first, no answer as 0, 0: their way to read a long text."""
    encoded = both.tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=window,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=True,
        return_tensors="pt",
    )
    inputs = {name: encoded[name] for name in both.tokenizer.model_input_names}
    with torch.inference_mode():
        logits = both.model(**inputs)
    best: dict[tuple[int, int], float] = {}
    without = 1.0
    for i, encoding in enumerate(encoded.encodings):
        outside = np.array([segment != 1 for segment in encoding.sequence_ids])
        outside[0] = False  # no answer
        starts, ends, scores, null = select_starts_ends(
            logits.start_logits[i : i + 1].double().numpy(),
            logits.end_logits[i : i + 1].double().numpy(),
            outside.astype(int),
            np.array(encoding.attention_mask)[None],
            top_k=10_000,
            handle_impossible_answer=True,
            max_answer_len=question_answering.LONGEST,
        )
        without = min(without, float(null))
        for start, end, score in zip(starts, ends, scores, strict=True):
            if score == 0:  # of the first token, which they keep among the candidates
                continue
            place = encoding.word_to_chars(encoding.token_to_word(int(start)), 1)[0]
            upto = encoding.word_to_chars(encoding.token_to_word(int(end)), 1)[1]
            best[place, upto] = max(best.get((place, upto), 0.0), float(score))
    ranked = sorted([*((score, *span) for span, score in best.items()), (without, 0, 0)], reverse=True)
    return ranked[: question_answering.KEPT]


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
@pytest.mark.parametrize("seed", [0, 1])
def test_spans(family: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short contexts, and long ones in several windows."""
    both = Both(tmp_path, f"{family}ForQuestionAnswering", seed=seed)
    monkeypatch.setattr(question_answering, "WINDOW", 60)
    questions = ["Who lived in Virginia?", "Where?"]
    for context in (TEXTS[0], " ".join(TEXTS[:2]), " ".join(TEXTS[:2] * 5)):
        for question, answer in zip(questions, both.ours.predict(questions, context=context), strict=True):
            expected = reference_spans(both, question, context, window=60, stride=20)
            assert [(span["score"], span["start"], span["end"]) for span in answer["spans"]] == [
                (near(score), start, end) for score, start, end in expected
            ]
            assert {**answer["spans"][0], "spans": answer["spans"]} == answer
            assert answer["answer"] == context[answer["start"] : answer["end"]]


# tasks over whole texts


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta"])
def test_numbers_and_labels_of_texts_and_pairs(family: str, tmp_path: Path) -> None:
    for name, config in (("one", {"num_labels": 1}), ("three", {"num_labels": 3, "problem_type": "regression"}), ("l", {})):
        both = Both(tmp_path / name, f"{family}ForSequenceClassification", **config)
        apply = "softmax" if name == "l" else "none"
        pipeline = both.pipeline("text-classification", top_k=None, function_to_apply=apply)
        for pairs in (None, list(TEXTS[::-1])):
            asked = [{"text": text, **({"text_pair": pairs[i]} if pairs else {})} for i, text in enumerate(TEXTS)]
            for answer, row in zip(both.ours.predict(TEXTS, pairs), asked, strict=True):
                (theirs,) = pipeline([row])
                scores = answer.get("scores", {"LABEL_0": answer.get("score")})
                assert {each["label"]: near(each["score"]) for each in theirs} == scores


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_choices(family: str, tmp_path: Path) -> None:
    both = Both(tmp_path, f"{family}ForMultipleChoice")
    choices = [["Virginia", "住在 弗农", "George lived at"], ["Mount", "Vernon"]]
    answers = both.ours.predict(TEXTS[:2], choices=choices)
    for context, row, answer in zip(TEXTS[:2], choices, answers, strict=True):
        batch = both.tokenizer([context] * len(row), row, padding=True, return_tensors="pt")
        with torch.inference_mode():
            scores = both.model(**{name: value[None] for name, value in batch.items()}).logits[0].softmax(-1)
        assert answer["scores"] == [near(score) for score in scores.tolist()]
        best = int(scores.argmax())
        assert (answer["choice"], answer["index"], answer["score"]) == (row[best], best, near(float(scores[best])))


# Real weights


@pytest.mark.real
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_chinese_model_knows_what_is_masked(shared: Path, precision: str) -> None:
    folder = shared / "checkpoints" / "albert-tiny-zh"
    texts = ["中国的首都是[MASK]京。", "我今天很[MASK]兴。"]
    answers = load(folder, precision=precision).predict(texts)
    best = [answer["candidates"][0][0] for answer in answers]
    assert [each["token"] for each in best] == ["北", "高"]
    assert [each["text"] for each in best] == ["中国的首都是北京。", "我今天很高兴。"]
    if precision == "float32":
        model = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        pipeline = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
        for text, answer in zip(texts, answers, strict=True):
            theirs = [(each["token_str"], near(each["score"])) for each in pipeline(text)]
            assert [(each["token"], each["score"]) for each in answer["candidates"][0]] == theirs


@pytest.mark.real
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_chinese_model_knows_parts_of_speech(shared: Path, precision: str) -> None:
    """A tag is read on a word's first character."""
    folder = shared / "checkpoints" / "ltp-tiny-electra-pos"
    model = load(folder, precision=precision)
    (answer,) = model.predict(["他去拿书"])
    assert [(part["text"], part["label"]) for part in answer["tokens"]] == [
        ("他", "r"),
        ("去", "v"),
        ("拿", "v"),
        ("书", "n"),
    ]
    words = ["他", "明天", "去", "图书馆", "拿", "书"]
    (answer,) = model.predict(tokens=[words])
    assert [(part["text"], part["label"]) for part in answer["tokens"]] == list(
        zip(words, ["r", "nt", "v", "n", "v", "n"], strict=True)
    )
    if precision == "float32":
        theirs = transformers.AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
        batch = transformers.AutoTokenizer.from_pretrained(folder)("".join(words), return_tensors="pt")
        with torch.inference_mode():
            scores = theirs(**batch).logits[0, 1:-1].softmax(-1).amax(-1)
        firsts = np.cumsum([0, *(len(word) for word in words[:-1])])
        assert [part["score"] for part in answer["tokens"]] == [near(float(scores[place])) for place in firsts]
