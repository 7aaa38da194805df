"""The loss over a vocabulary: value and gradients of the plain formula, in pieces of any size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.layers import vocabulary
from regard.layers.vocabulary import word_loss


def plain(
    states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float, never: int | None
) -> Tensor:
    scores = states @ weight.T if bias is None else states @ weight.T + bias
    if never is not None:
        scores = scores.masked_fill(torch.arange(len(weight)) == never, float("-inf"))
    logs = scores.log_softmax(-1)
    even = (logs.where(logs.isfinite(), 0).sum(-1)) / (len(weight) - (never is not None))
    loss = -(1 - smoothing) * logs.gather(1, labels.clamp(min=0)[:, None])[:, 0] - smoothing * even
    return loss[labels >= 0].sum()


@settings(deadline=None)
@given(
    tokens=st.integers(1, 150),
    scores=st.sampled_from([1, 700, 5_000_000]),
    smoothing=st.sampled_from([0.0, 0.1]),
    never=st.sampled_from([None, 4]),
    biased=st.booleans(),
    seed=st.integers(0, 9),
)
def test_value_and_gradients_are_those_of_the_plain_formula(
    tokens: int, scores: int, smoothing: float, never: int | None, biased: bool, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    states, weight, bias = (torch.randn(size, generator=random).double() for size in ((tokens, 6), (11, 6), (11,)))
    labels = torch.randint(-2, 11, (tokens,), generator=random)
    labels[labels == never] = 5
    given_ = [states, weight, *([bias] if biased else [])]
    mine, theirs = ([x.float().requires_grad_() for x in given_], [x.clone().requires_grad_() for x in given_])
    expected = plain(*theirs[:2], theirs[2] if biased else None, labels, smoothing, never)
    (expected * 0.5).backward()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "SCORES", scores)
        found = word_loss(*mine[:2], mine[2] if biased else None, labels, smoothing=smoothing, never=never)
    (found * 0.5).backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for ours, reference in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-4, atol=1e-5)
    if never is not None:
        assert mine[1].grad[never].abs().max() == 0


def test_bfloat16_states_give_nearly_the_same_and_gradients_in_their_own_dtypes() -> None:
    torch.manual_seed(0)
    states, weight, bias = torch.randn(200, 32), torch.randn(500, 32) * 0.3, torch.randn(500)
    labels = torch.randint(0, 500, (200,))
    exact = word_loss(states, weight, bias, labels, smoothing=0.1)
    narrow = [states.bfloat16().requires_grad_(), weight.clone().requires_grad_(), bias.bfloat16().requires_grad_()]
    found = word_loss(*narrow, labels, smoothing=0.1)
    found.backward()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=5e-3)
    assert [x.grad.dtype for x in narrow] == [torch.bfloat16, torch.float32, torch.bfloat16]


def test_without_gradients_nothing_is_kept() -> None:
    states, weight = torch.randn(5, 4), torch.randn(9, 4)
    with torch.inference_mode():
        assert not word_loss(states, weight, None, torch.tensor([0, 1, 2, 3, 8])).requires_grad
