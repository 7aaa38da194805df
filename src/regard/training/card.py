"""The README.md of a model folder: a model card written from measured facts (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regard.config import RunConfig, dump_toml
from regard.tasks.task import Evaluation
from regard.training.prepare import Prepared


def model_card(config: RunConfig, prepared: Prepared, evaluation: Evaluation, run: Mapping[str, Any]) -> str:
    """Markdown: what the model is, what it was trained on, how good it is and how sure, how to repeat it."""
    model = prepared.model.config
    parameters = sum(parameter.numel() for parameter in prepared.model.parameters())
    start = f"fine-tuned from `{config.model}`" if prepared.pretrained else f"trained from scratch (`{config.model}`)"
    metrics = "\n".join(
        f"| {name} | {metric['value']:.4f} | {metric['low']:.4f} to {metric['high']:.4f} |"
        for name, metric in evaluation.metrics.items()
    )
    return f"""# {config.task}

A {model.kind} of {model.n_layers} layers, {model.d_model} wide, {parameters / 1e6:.1f} million parameters, {start} on
`{config.data.train}` ({prepared.rows[0]} rows), {run["steps"]} steps; the weights of step {run["best_step"]} are kept.

## How good it is

Measured on {run["evaluated_on"]} ({prepared.rows[1]} rows). These rows chose the best step and fitted the temperature of
the scores, so that rows never seen will do somewhat worse; `regard evaluate` measures on others.

| metric | value | 95% interval |
|---|---|---|
{metrics}

## What it has not been tested for

Other languages, domains and times than those of its data; fairness between groups; texts made to mislead it.

## How to repeat it

```toml
{dump_toml(config).strip()}
```
"""
