"""A small GPT and its training loop, written as plainly as torch allows: what Regard's loop is compared with.

The model is that of GPT-2 without biases, the loop that of nanoGPT with the settings of its README for a CPU: windows drawn
at random from the text, AdamW, warm-up and a cosine down to a tenth of the peak, the loss estimated on 20 batches.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK, ROWS, LAYERS, HEADS, WIDTH = 64, 12, 4, 4, 128
PEAK, LEAST, WARMUP, DECAY, CLIP = 1e-3, 1e-4, 100, 0.1, 1.0
EVERY, ESTIMATES = 250, 20


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.merge = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, tokens, width) -> the same."""
        rows, tokens, width = x.shape
        q, k, v = (part.view(rows, tokens, HEADS, -1).transpose(1, 2) for part in self.qkv(self.first(x)).split(width, 2))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.merge(seen.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.down(functional.gelu(self.up(self.second(x))))


class PlainGPT(nn.Module):
    """Token and position tables, layers, a norm, and the token table again as the output."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(words, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                inner = name.endswith(("merge.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if inner else 0.02)

    def forward(self, ids: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        """(rows, tokens) ids and what follows each -> the loss."""
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        scores = self.norm(self.layers(x)) @ self.tokens.weight.T
        return functional.cross_entropy(scores.flatten(0, 1).float(), labels.flatten(), reduction=reduction)


class PlainLoop:
    """The loop over one text. half: bfloat16 by autocast."""

    def __init__(self, train: str, held: str, steps: int, half: bool) -> None:
        characters = {character: number for number, character in enumerate(sorted({*train, *held}))}
        self.words = len(characters)
        self.train, self.held = (torch.tensor([characters[c] for c in text]) for text in (train, held))
        self.steps, self.half = steps, half

    def facts(self) -> dict[str, Any]:
        """Parameters."""
        return {"parameters": sum(weight.numel() for weight in PlainGPT(self.words).parameters())}

    def run(self, seed: int) -> dict[str, float]:
        """One training from scratch: seconds and CPU seconds with its estimates, the estimate, the exact loss."""
        torch.manual_seed(seed)
        started, cpu = time.perf_counter(), time.process_time()
        model = PlainGPT(self.words)
        groups = [
            {"params": [w for w in model.parameters() if w.dim() > 1], "weight_decay": DECAY},
            {"params": [w for w in model.parameters() if w.dim() == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99), fused=True)
        estimate = math.nan
        for step in range(self.steps + 1):
            if step % EVERY == 0 or step == self.steps:
                estimate = [self.estimate(model, text) for text in (self.train, self.held)][1]
            if step == self.steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = self.rate(step)
            with self.cast():
                loss = model(*self.batch(self.train))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        taken = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
        return {**taken, "estimate": estimate, "loss": self.exact(model)}

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        if step < WARMUP:
            return PEAK * (step + 1) / (WARMUP + 1)
        return LEAST + 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (self.steps - WARMUP))) * (PEAK - LEAST)

    def batch(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Windows from anywhere, and the same one character on."""
        starts = torch.randint(len(text) - BLOCK, (ROWS,)).tolist()
        ids, labels = ([text[i + on : i + on + BLOCK] for i in starts] for on in (0, 1))
        return torch.stack(ids), torch.stack(labels)

    def cast(self) -> Any:
        """bfloat16, or as it is."""
        return torch.autocast("cpu", torch.bfloat16) if self.half else nullcontext()

    @torch.no_grad()
    def estimate(self, model: PlainGPT, text: Tensor) -> float:
        """The mean loss of some batches."""
        losses = []
        for _ in range(ESTIMATES):
            with self.cast():
                losses.append(float(model(*self.batch(text))))
        return sum(losses) / ESTIMATES

    @torch.no_grad()
    def exact(self, model: PlainGPT) -> float:
        """Nats a character over all of the held-out text, in windows that do not overlap; the first has no context."""
        total, ends = 0.0, range(0, len(self.held) - 1, BLOCK)
        for start in ends:
            part = self.held[start : start + BLOCK + 1][None]
            with self.cast():
                total += float(model(part[:, :-1], part[:, 1:], "sum"))
        return total / (len(self.held) - 1)
