"""The search that takes the likeliest token, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from regard.decoding.filters import Filter, Written
from regard.decoding.scorer import Scorer


def greedy(
    scorer: Scorer,
    prompt: Tensor,
    *,
    mask: Tensor | None = None,
    stop: Collection[int],
    longest: int,
    filters: Sequence[Filter] = (),
) -> list[list[int]]:
    """What each row writes after its prompt, up to and without a `stop` token, at most `longest` tokens.

    prompt: (rows, tokens) int64, with mask (rows, tokens) where rows are padded on the left. Of equally likely tokens the
    one with the smaller id is taken. Rows that are done leave the batch.
    """
    texts: list[list[int]] = [[] for _ in range(len(prompt))]
    if longest < 1:
        return texts
    ends = torch.tensor(sorted(stop), dtype=torch.int64, device=prompt.device)
    rows = torch.arange(len(prompt), device=prompt.device)
    written = prompt.new_empty(len(prompt), 0)
    scores = scorer.read(prompt, mask)
    while True:
        for change in filters:
            scores = change(scores, Written(written, rows))
        tokens = scores.argmax(1)
        ended = torch.isin(tokens, ends)
        written = torch.cat([written, tokens[:, None]], dim=1)
        if ended.any() or written.shape[1] == longest:
            for row, text, end in zip(rows.tolist(), written.tolist(), ended.tolist(), strict=True):
                texts[row] = text[:-1] if end else text
            going = (~ended).nonzero()[:, 0]
            if not len(going) or written.shape[1] == longest:
                return texts
            scorer.keep(going)
            rows, written, tokens = rows[going], written[going], tokens[going]
        scores = scorer.read(tokens[:, None])
