"""Searches over scorers whose best texts are known by trying them all, alone and in running batches."""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.decoding import (
    Banned,
    Beam,
    Closed,
    Filter,
    Forced,
    Greedy,
    Hypothesis,
    LexicalBeam,
    Lexicon,
    ModelScorer,
    Required,
    Sample,
    Scorer,
    Stops,
    Strategy,
    Vocabulary,
    Written,
    search,
)
from regard.decoding.sample import seeds, uniform
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model

END, WORDS = 0, 4
NEVER = float("-inf")


class Chains(Scorer):
    """Inputs with a table each: how likely each word is after each other one. Every text begins after the word END."""

    def __init__(self, tables: Tensor, width: int = 1) -> None:
        self.tables, self.width = tables, width
        self.inputs: list[int] = []
        self.now = torch.empty(0, width, dtype=torch.int64)
        self.sizes: list[int] = []

    def join(self, inputs: Sequence[int]) -> Tensor:
        self.inputs += inputs
        return torch.full((len(inputs),), END)

    def read(self, tokens: Tensor) -> None:
        assert tokens.shape == (len(self.inputs), self.width)
        self.now = tokens
        self.sizes.append(len(tokens))

    def logits(self) -> Tensor:
        return self.tables[torch.tensor(self.inputs)[:, None], self.now].flatten(0, 1)

    def follow(self, parents: Tensor) -> None:
        assert parents.shape == self.now.shape

    def keep(self, rows: Tensor) -> None:
        self.inputs = [self.inputs[row] for row in rows.tolist()]


def tables(inputs: int, seed: int) -> Tensor:
    return torch.randn(inputs, WORDS, WORDS, generator=torch.Generator().manual_seed(seed)) * 2


def log_probability(table: Tensor, text: Sequence[int]) -> float:
    logs = table.log_softmax(1)
    return sum(float(logs[before, word]) for before, word in zip([END, *text], text, strict=False))


def every_text(longest: int) -> list[list[int]]:
    """With its end where there is room for one."""
    whole = [list(text) for text in product(range(1, WORDS), repeat=longest)]
    ended = [[*text, END] for n in range(longest) for text in product(range(1, WORDS), repeat=n)]
    return whole + ended


def found(scorer: Scorer, strategy: Strategy, longest: Sequence[int], **more: object) -> list[list[Hypothesis]]:
    texts: dict[int, list[Hypothesis]] = {}
    for input, new, best in search(scorer, strategy, longest=longest, **more):
        assert not new
        assert input not in texts
        texts[input] = best
    return [texts[number] for number in range(len(longest))]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), longest=st.integers(1, 4), penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_with_room_for_all_beginnings_the_best_of_all_texts_is_found(seed: int, longest: int, penalty: float):
    table, beams = tables(1, seed), WORDS**longest
    best = sorted(
        ((log_probability(table[0], text) / len(text) ** penalty, text) for text in every_text(longest)), reverse=True
    )
    strategy = Beam(beams, stop={END}, length_penalty=penalty, early="never")
    texts = found(Chains(table, beams), strategy, [longest])[0]
    assert [text.score for text in texts[:5]] == pytest.approx([score for score, _ in best[:5]][: len(texts)], abs=1e-4)
    assert texts[0].tokens == [word for word in best[0][1] if word != END]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), inputs=st.integers(1, 6), longest=st.integers(0, 6))
def test_one_beam_is_greedy(seed: int, inputs: int, longest: int):
    table = tables(inputs, seed)
    greedy = found(Chains(table), Greedy(stop={END}), [longest] * inputs)
    beam = found(Chains(table), Beam(1, stop={END}), [longest] * inputs)
    assert [texts[0].tokens for texts in greedy] == [texts[0].tokens for texts in beam]
    assert [texts[0].score for texts in greedy] == pytest.approx([texts[0].score for texts in beam], abs=1e-5)


STRATEGIES = {
    "greedy": lambda n: Greedy(stop={END}),
    "beams": lambda n: Beam(3, stop={END}),
    "early": lambda n: Beam(3, stop={END, 3}, early="full"),
    "groups": lambda n: Beam(4, stop={END}, groups=2, diversity=0.7),
    "samples": lambda n: Sample(seeds(5, [[i] for i in range(n)]), stop={END}, width=2, top_p=0.9),
}


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    longest=st.lists(st.integers(0, 7), min_size=1, max_size=9),
    kind=st.sampled_from(sorted(STRATEGIES)),
    rows=st.integers(1, 5),
    sizes=st.lists(st.integers(1, 4), min_size=9, max_size=9),
)
def test_a_text_is_the_same_alone_and_in_any_running_batch(
    seed: int, longest: list[int], kind: str, rows: int, sizes: list[int]
):
    table, filters = tables(len(longest), seed), [Banned([1], first=True), Closed(END, torch.tensor(longest))]
    strategy = STRATEGIES[kind](len(longest))
    alone = [
        found(
            Chains(table, strategy.width),
            strategy,
            [most if i == n else 0 for i, most in enumerate(longest)],
            filters=filters,
        )[n]
        for n in range(len(longest))
    ]
    scorer = Chains(table, strategy.width)
    together = found(scorer, strategy, longest, filters=filters, rows=rows, sizes=sizes[: len(longest)], tokens=8)
    assert [[text.tokens for text in texts] for texts in together] == [[text.tokens for text in texts] for texts in alone]
    assert max(scorer.sizes, default=0) <= rows


def test_rows_that_are_done_leave_and_others_take_their_places():
    table = torch.zeros(20, WORDS, WORDS)
    table[:, 1:, 1] = 9.0
    table[:, 0, 1] = 9.0
    scorer = Chains(table)
    longest = [1 + 2 * (number % 4) for number in range(20)]
    texts = found(scorer, Greedy(stop={END}), longest, rows=8)
    assert [text[0].tokens for text in texts] == [[1] * most for most in longest]
    assert max(scorer.sizes) == 8
    assert sum(scorer.sizes) < sum(longest) * 1.3  # far from 20 rows of 7 words


def test_a_search_tells_tokens_as_they_are_written():
    table = torch.zeros(2, WORDS, WORDS)
    table[0, 0, 2] = table[0, 2, 3] = table[0, 3, 0] = 5.0
    table[1, 0, 1] = table[1, 1, 0] = 5.0
    story = [
        (input, new, [text.tokens for text in done])
        for input, new, done in search(Chains(table), Greedy(stop={END}), longest=[9, 9], stream=True)
    ]
    assert story == [(0, [2], []), (1, [1], []), (0, [3], []), (1, [], [[1]]), (0, [], [[2, 3]])]
    silent = list(search(Chains(table, 2), Beam(2, stop={END}), longest=[9, 9], stream=True))
    assert all(not new for _, new, _ in silent)


def test_a_banned_token_gives_way_to_the_next_best():
    scores = torch.tensor([0.0, 1.0, 3.0, 2.0]).expand(1, WORDS, -1)

    def say(*filters: Filter) -> list[int]:
        return found(Chains(scores), Greedy(stop=()), [4], filters=filters)[0][0].tokens

    assert say() == [2, 2, 2, 2]
    assert say(Banned([2])) == [3, 3, 3, 3]
    assert say(Banned([2], first=True)) == [3, 2, 2, 2]
    assert say(Banned([[2, 2]])) == [2, 3, 2, 3]
    assert say(Forced({0: 1, 2: 0})) == [1, 2, 0, 2]
    assert say(Banned([2]), Forced({1: 2})) == [3, 2, 3, 3]
    assert say(Banned([0, 1, 2, 3])) == []
    assert found(Chains(scores, 2), Beam(2, stop=()), [4], filters=[Banned([0, 1, 2, 3])]) == [[Hypothesis([], NEVER)]]


def test_a_filter_need_not_say_when_it_sleeps():
    def odd(scores: Tensor, written: Written) -> Tensor:
        assert written.rows.tolist() == [0]
        return scores.index_fill(1, torch.tensor([2]), NEVER)

    assert found(Chains(torch.tensor([[[0.0, 1.0, 3.0, 2.0]]]).expand(1, WORDS, -1)), Greedy(stop=()), [2], filters=[odd])[
        0
    ][0].tokens == [3, 3]


def test_groups_choose_differently():
    scores = torch.tensor([0.0, 1.0, 3.0, 2.5]).expand(1, WORDS, -1)
    plain = found(Chains(scores, 2), Beam(2, stop=(), groups=2), [1])[0]
    assert [text.tokens for text in plain] == [[2], [2]]
    apart = found(Chains(scores, 2), Beam(2, stop=(), groups=2, diversity=1.0), [1])[0]
    assert sorted(text.tokens for text in apart) == [[2], [3]]
    with pytest.raises(ValueError, match="3 beams cannot be 2 groups of equal size"):
        Beam(3, stop=(), groups=2)


# ---- drawing -------------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0, 1.5]])


def shares(draws: int = 4000, **cuts: float) -> Tensor:
    """How often each token is drawn."""
    sample = Sample([0], stop=(), **cuts)
    even = (torch.arange(draws) + 0.5) / draws
    return torch.bincount(sample.drawn(LOGITS.expand(draws, -1), even.double())[:, 0], minlength=6) / draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float):
    torch.testing.assert_close(shares(temperature=temperature), (LOGITS[0] / temperature).softmax(0), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("cuts", "left"),
    [
        ({"top_k": 2}, [0, 5]),
        ({"top_p": 0.6}, [0, 5]),  # 0.42 and 0.25
        ({"top_p": 0.01}, [0]),
        ({"min_p": 0.5}, [0, 5]),
        ({"min_p": 0.3}, [0, 1, 5]),
        ({"top_k": 3, "top_p": 0.8}, [0, 5]),
        ({"typical": 0.2}, [5]),
        ({"typical": 0.5}, [0, 1, 5]),
    ],
)
def test_a_distribution_is_cut(cuts: dict[str, float], left: list[int]):
    kept = torch.zeros(6)
    kept[left] = LOGITS[0].softmax(0)[left]
    torch.testing.assert_close(shares(**cuts), kept / kept.sum(), atol=1e-3, rtol=0)


def test_a_draw_depends_on_seed_input_place_and_sample_alone():
    one, other = seeds(1, [[4, 5], [6]]), seeds(2, [[6], [4, 5]])
    assert one[1] not in other
    assert seeds(1, [[6]]) == one[1:]
    draws = uniform(torch.tensor([*one, *other]).repeat_interleave(200), torch.arange(200).repeat(4), 8)
    assert draws.min() >= 0 and draws.max() < 1
    assert len(draws.unique()) == draws.numel()
    assert abs(float(draws.mean()) - 0.5) < 0.02
    assert abs(float(torch.corrcoef(draws.T).fill_diagonal_(0).abs().max())) < 0.15


def test_samples_of_an_input_differ_and_come_again():
    table = torch.zeros(2, WORDS, WORDS)
    say = lambda seed: found(Chains(table, 3), Sample(seeds(seed, [[1], [2]]), stop=(), width=3), [12, 12])  # noqa: E731
    assert say(1) == say(1) != say(2)
    texts = [tuple(text.tokens) for row in say(1) for text in row]
    assert len(set(texts)) == 6


# ---- a real decoder ------------------------------------------------------------------------------------------------------


def decoder(**changes: object) -> Model:
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 32, "max_positions": 40}
    config = ModelConfig(**{"kind": "decoder", **sizes, **changes})
    model = build(config, HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=30)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


KINDS = {
    "grouped": decoder(positions="rotary", n_kv_heads=2),
    "dynamic": decoder(positions="rotary", stretch={"kind": "yarn", "factor": 2.0, "original": 8}),
    "alibi": decoder(positions="alibi"),
    "relative": decoder(positions="relative"),
    "learned": decoder(positions="learned", position_offset=2),
    "window": decoder(positions="sinusoidal", window=2, local_layers=(1,)),
}


def uncached(model: Model, ids: list[int], longest: int) -> list[int]:
    written: list[int] = []
    for _ in range(longest):
        token = int(model(torch.tensor([[*ids, *written]]))[0, -1].argmax())
        if token == END:
            break
        written.append(token)
    return written


@settings(deadline=None, max_examples=40)
@given(
    prompts=st.lists(st.lists(st.integers(1, 29), min_size=1, max_size=9), min_size=1, max_size=6),
    kind=st.sampled_from(sorted(KINDS)),
    rows=st.integers(1, 6),
)
def test_a_cached_running_batch_writes_what_each_row_writes_alone_uncached(prompts: list[list[int]], kind: str, rows: int):
    model, longest = KINDS[kind], [4 + 3 * (number % 3) for number in range(len(prompts))]
    with torch.inference_mode():
        texts = found(ModelScorer(model, prompts), Greedy(stop={END}), longest, rows=rows)
        expected = [uncached(model, *each) for each in zip(prompts, longest, strict=True)]
    assert [text[0].tokens for text in texts] == expected


@settings(deadline=None, max_examples=30)
@given(
    prompts=st.lists(st.lists(st.integers(1, 29), min_size=1, max_size=9), min_size=1, max_size=5),
    kind=st.sampled_from(sorted(KINDS)),
    rows=st.integers(1, 4),
)
def test_hypotheses_that_share_a_cache_are_scored_as_if_alone(prompts: list[list[int]], kind: str, rows: int):
    model = KINDS[kind]
    with torch.inference_mode():
        texts = found(ModelScorer(model, prompts, width=3), Beam(3, stop={END}), [7] * len(prompts), rows=rows)
        for prompt, several in zip(prompts, texts, strict=True):
            for text in several:
                ids = [*prompt, *text.tokens, *([END] if len(text.tokens) < 7 else [])]
                logs = model(torch.tensor([ids[:-1]]))[0].log_softmax(1)
                written = torch.tensor(ids[len(prompt) :])
                score = logs[len(prompt) - 1 :].gather(1, written[:, None]).mean()
                assert text.score == pytest.approx(float(score), abs=1e-4)


def test_a_row_that_is_done_may_stay_beyond_the_last_position():
    config = ModelConfig(kind="decoder", vocab_size=30, d_model=16, n_layers=2, n_heads=4, d_ff=32, max_positions=12)
    torch.manual_seed(0)
    model = build(config, HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=30)).eval()
    prompts, longest = [[1] * 11, *[[2]] * 8], [1, *[11] * 8]
    with torch.inference_mode():
        found = {each.input: each.found for each in search(ModelScorer(model, prompts), Greedy(stop=()), longest=longest)}
    assert [len(found[number][0].tokens) for number in range(9)] == longest


def test_positions_without_a_table_have_no_end():
    written = []
    for positions in (4, 512):
        torch.manual_seed(0)
        size = {"vocab_size": 30, "d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 32}
        config = ModelConfig(kind="decoder", positions="rotary", max_positions=positions, **size)
        model = build(config, HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=30)).eval()
        with torch.inference_mode():
            (each,) = search(ModelScorer(model, [[1, 2]]), Greedy(stop=()), longest=[20])
        written.append(each.found)
    assert written[0] == written[1]


def test_only_a_decoder_can_be_asked():
    encoder = build(ModelConfig(vocab_size=8, d_model=4, n_layers=1, n_heads=1, d_ff=4))
    with pytest.raises(ValueError, match="only a decoder"):
        ModelScorer(encoder, [[1]])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    longest=st.integers(2, 4),
    phrases=st.lists(st.lists(st.integers(1, WORDS - 1), min_size=1, max_size=2), min_size=1, max_size=2),
)
def test_with_room_for_all_the_best_text_with_its_words_is_found(seed: int, longest: int, phrases: list[list[int]]):
    def has(text: Sequence[int]) -> bool:
        return all(any(list(text[at : at + len(each)]) == each for at in range(len(text))) for each in phrases)

    table, beams = tables(1, seed), WORDS**longest
    lexicon = Lexicon([[phrase] for phrase in phrases])
    best = max(
        ((log_probability(table[0], text) / len(text), text) for text in every_text(longest) if has(text)), default=None
    )
    strategy = LexicalBeam(beams, lexicon=lexicon, stop={END}, early="never")
    texts = found(Chains(table, beams), strategy, [longest], filters=[Required([lexicon], {END})])[0]
    if best is None:
        assert not any(has(text.tokens) for text in texts)
        assert texts[0].tokens
    else:
        assert texts[0].tokens == [word for word in best[1] if word != END]
        assert texts[0].score == pytest.approx(best[0], abs=1e-4)
        assert all(has(text.tokens) for text in texts)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), inputs=st.integers(1, 5), rows=st.integers(1, 3), beams=st.integers(2, 4))
def test_words_come_alike_alone_and_in_any_batch(seed: int, inputs: int, rows: int, beams: int):
    table, lexicon = tables(inputs, seed), Lexicon([[[1, 2]], [[3]]])
    longest = [5 + number for number in range(inputs)]

    def told(table: Tensor, longest: list[int], rows: int) -> list[list[Hypothesis]]:
        strategy = LexicalBeam(beams, lexicon=lexicon, stop={END})
        rules = [Required([lexicon] * len(longest), {END})]
        return found(Chains(table, beams), strategy, longest, filters=rules, rows=rows)

    alone = [told(table[number : number + 1], [longest[number]], 1)[0] for number in range(inputs)]
    together = told(table, longest, rows)
    assert [[text.tokens for text in texts] for texts in together] == [[text.tokens for text in texts] for texts in alone]
    assert all(lexicon.met(texts[0].tokens) for texts in together)


LETTERS = Vocabulary(first=(b"", b"a", b"b", b"c"), later=(b"", b"a", b"b", b"c"), skipped=frozenset({END}))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), inputs=st.integers(1, 4), string=st.text("abc", min_size=1, max_size=3))
def test_a_straight_search_ends_where_a_stop_string_is_complete(seed: int, inputs: int, string: str):
    table, stops = tables(inputs, seed), Stops([string], LETTERS)
    for make in (
        lambda stops: Greedy(stop={END}, stops=stops),
        lambda stops: Sample(list(range(inputs)), stop={END}, stops=stops),
    ):
        free = found(Chains(table), make(None), [9] * inputs)
        bound = found(Chains(table), make(stops), [9] * inputs)
        for whole, cut in zip(free, bound, strict=True):
            text = LETTERS.text(whole[0].tokens)
            end = text.find(string)
            assert LETTERS.text(cut[0].tokens) == (text if end < 0 else text[: end + len(string)])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), longest=st.integers(1, 4), string=st.text("abc", min_size=1, max_size=2))
def test_beams_find_the_best_of_all_texts_that_a_stop_string_may_end(seed: int, longest: int, string: str):
    table, beams = tables(1, seed), WORDS**longest
    cut = {
        tuple(text[: end + len(string)] if (end := LETTERS.text(text).find(string)) >= 0 else text)
        for text in every_text(longest)
    }
    best = max((log_probability(table[0], text) / len(text), text) for text in cut)
    strategy = Beam(beams, stop={END}, stops=Stops([string], LETTERS), early="never")
    text = found(Chains(table, beams), strategy, [longest])[0][0]
    assert text.score == pytest.approx(best[0], abs=1e-4)
    assert text.tokens == [word for word in best[1] if word != END]
