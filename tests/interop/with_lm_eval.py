"""Scores a saved step with lm-eval, through our adapter and through its own Hugging Face model on the same weights.

Run by the Python of an environment that has lm-eval and transformers; what else we need comes from ours, at the end of
its path.

    python with_lm_eval.py '{"run": FOLDER, "step": 7, "tasks": FOLDER, "names": […], "path": […]}'

Printed: `ours`, `theirs`: task -> what was answered to each request.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    asked: dict[str, Any] = json.loads(sys.argv[1])
    sys.path += asked["path"]

    import torch
    from as_transformers import as_transformers, their_tokenizer
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from dolma_pipeline.evals.lm_eval import SavedModel
    from dolma_pipeline.evals.score import saved_model
    from dolma_pipeline.train.files import read_settings

    torch.set_num_threads(1)
    run = Path(asked["run"])
    model: Any = saved_model(run, asked["step"], settings=read_settings(run))
    theirs = HFLM(
        pretrained=as_transformers(model),
        tokenizer=their_tokenizer(run / "tokenizer/tokenizer.json", eos="<|endoftext|>"),
        backend="causal",
        batch_size=2,
        device="cpu",
        max_length=model.config.sequence_length,
    )
    found: dict[str, Any] = {}
    for who, scored in (("ours", SavedModel(run, asked["step"])), ("theirs", theirs)):
        results = simple_evaluate(
            scored,
            tasks=asked["names"],
            task_manager=TaskManager(include_path=asked["tasks"], include_defaults=False),
            bootstrap_iters=0,
            log_samples=True,
        )
        found[who] = {
            name: [sample["resps"] for sample in sorted(samples, key=lambda sample: sample["doc_id"])]
            for name, samples in results["samples"].items()
        }
    print(json.dumps(found))
