"""Real checkpoints of ALBERT and ELECTRA against transformers in float32, and what they are known to answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from regard.checkpoints import Loaded, export_hf, load
from regard.checkpoints.contract import check_answer, check_laws, check_round_trip
from regard.checkpoints.reference import answer_of
from regard.models.build import filled
from regard.models.model import Model
from regard.text import Tokenizer

pytestmark = pytest.mark.real

ALBERT, ELECTRA = "albert-tiny-zh", "ltp-tiny-electra-pos"
TEXTS = (
    "不",
    "他去拿书",
    "中国的首都是[MASK]京。",
    "我今天很[MASK]兴，because the weather is fine 天气很好，所以我们去公园散步。",
    "他叫汤姆去拿外衣。" * 60,
)


@dataclass(frozen=True)
class Both:
    """A checkpoint as both libraries read it."""

    folder: Path
    loaded: Loaded
    ours: Model
    theirs: Any

    def batch(self, texts: tuple[str, ...]) -> dict[str, Tensor]:
        """Padded on the right."""
        rows = Tokenizer.load(self.folder).ids(list(texts), max_length=self.loaded.config.max_positions)[0]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return {"inputs": ids, "attention_mask": real}

    def outputs(self, text: str) -> Tensor:
        """(characters, outputs) of a text of single Chinese characters."""
        ids = self.batch((text,))["inputs"]
        assert ids.shape[1] == len(text.replace("[MASK]", "?")) + 2
        return self.ours(ids)[0, 1:-1]


def read(folder: Path) -> Both:
    loaded = load(folder)
    theirs = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    return Both(
        folder,
        loaded,
        filled(loaded.config, loaded.head, loaded.tensors),
        getattr(transformers, theirs).from_pretrained(folder, dtype=torch.float32).eval(),
    )


@pytest.fixture(scope="module", params=[ALBERT, ELECTRA])
def both(request: pytest.FixtureRequest, real: Callable[[str], Path]) -> Iterator[Both]:
    with torch.inference_mode():
        yield read(real(request.param))


@torch.inference_mode()
def test_hidden_states_and_outputs_are_theirs(both: Both) -> None:
    batches = [both.batch((text,)) for text in TEXTS] + [both.batch(TEXTS)]
    lengths = [batch["inputs"].shape[1] for batch in batches]
    assert (min(lengths), max(lengths)) == (3, both.loaded.config.max_positions)
    for batch in batches:
        check_answer(both.ours, batch, answer_of(both.theirs)(batch), tolerance=5e-5, relative=1e-4)


@torch.inference_mode()
def test_padding_changes_nothing(both: Both) -> None:
    check_laws(both.ours, both.batch(TEXTS), tolerance=2e-5)


def test_an_export_is_what_came_in(both: Both, tmp_path: Path) -> None:
    export_hf(load(both.folder, dtype=None), tmp_path)
    check_round_trip(both.folder, tmp_path)
    again, report = type(both.theirs).from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not {name: found for name, found in report.items() if found}
    batch = both.batch(TEXTS[:3])
    assert torch.equal(answer_of(again.eval())(batch).output, answer_of(both.theirs)(batch).output)
    assert load(tmp_path).task == both.loaded.task


@pytest.mark.parametrize(("text", "hidden"), [("中国的首都是[MASK]京。", "北"), ("我今天很[MASK]兴。", "高")])
@torch.inference_mode()
def test_albert_fills_in_what_is_missing(real: Callable[[str], Path], text: str, hidden: str) -> None:
    both = read(real(ALBERT))
    assert both.loaded.task is not None
    assert both.loaded.task["task"] == "fill-mask"
    best = int(both.outputs(text)[text.index("[")].argmax())
    assert Tokenizer.load(both.folder).ids([hidden])[0][0][1] == best


@torch.inference_mode()
def test_electra_tells_parts_of_speech(real: Callable[[str], Path]) -> None:
    both = read(real(ELECTRA))
    task = both.loaded.task
    assert task is not None
    assert (task["task"], len(task["labels"])) == ("token-classification", 27)
    assert [task["labels"][int(i)] for i in both.outputs("他去拿书").argmax(-1)] == ["r", "v", "v", "n"]
