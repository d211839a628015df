"""Named tasks: the keys of a task file that a published evaluation stands for. `dolma-pipeline list tasks` shows them.

No data comes with them: items are the user's. A task file takes one with `preset: NAME`, and a file of items that is
called like one (`mmlu.jsonl`) is scored as it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTask:
    """summary: one line. source: where the form and the metric come from. keys: of a task file, with their values."""

    summary: str
    source: str
    keys: Mapping[str, str | int | list[str]] = field(default_factory=dict)


_OLMO = "Groeneveld et al. 2024 (arXiv 2402.00838); metric as in allenai/OLMo-in-loop-evals"
_OLMES = "Groeneveld et al. 2024 (arXiv 2402.00838); metric as in Gu et al. 2024 (arXiv 2406.08446)"
_MMLU = "Hendrycks et al. 2021 (arXiv 2009.03300)"
_LETTERS = "{question}\n{lettered}\nAnswer:"

NAMED: Mapping[str, NamedTask] = {
    "arc_easy": NamedTask(summary="science questions, easy", source=_OLMO, keys={"metric": "acc"}),
    "arc_challenge": NamedTask(summary="science questions, hard", source=_OLMES, keys={"metric": "acc_pmi"}),
    "boolq": NamedTask(summary="yes or no, with a passage", source=_OLMO, keys={"metric": "acc"}),
    "hellaswag": NamedTask(summary="how a scene goes on", source=_OLMO, keys={"metric": "acc_norm"}),
    "openbookqa": NamedTask(summary="elementary science facts", source=_OLMES, keys={"metric": "acc_pmi"}),
    "piqa": NamedTask(summary="physical common sense", source=_OLMO, keys={"metric": "acc_norm"}),
    "sciq": NamedTask(summary="science exams, with a passage", source=_OLMO, keys={"metric": "acc"}),
    "winogrande": NamedTask(summary="what a pronoun stands for", source=_OLMO, keys={"metric": "acc"}),
    "mmlu": NamedTask(
        summary="57 subjects, the letter of the answer is scored; 5 examples of the subject are usual",
        source=_MMLU,
        keys={
            "header": "The following are multiple choice questions (with answers) about {subject|words}.\n\n",
            "prompt": _LETTERS,
            "answer": " {letter}",
            "group": "subject",
            "metric": "acc",
        },
    ),
    "mmlu_cloze": NamedTask(
        summary="the same, the text of the answer is scored, which small models need",
        source="Gu et al. 2024 (arXiv 2406.08446), the cloze form",
        keys={
            "prompt": "Question: {question}\nAnswer:",
            "answer": " {choice}",
            "group": "subject",
            "metric": "acc_norm",
        },
    ),
    "truthfulqa_mc1": NamedTask(
        summary="whether the one true answer is likeliest",
        source="Lin et al. 2022 (arXiv 2109.07958)",
        keys={"kind": "mc1", "prompt": "Q: {question}\nA:", "answer": " {choice}", "metric": "acc"},
    ),
    "truthfulqa_mc2": NamedTask(
        summary="the probability that all true answers have together",
        source="Lin et al. 2022 (arXiv 2109.07958)",
        keys={"kind": "mc2", "prompt": "Q: {question}\nA:", "answer": " {choice}", "metric": "mc2"},
    ),
    "gsm8k": NamedTask(
        summary="grade school maths, the number behind ####; 5 or 8 examples are usual",
        source="Cobbe et al. 2021 (arXiv 2110.14168)",
        keys={
            "kind": "exact_match",
            "prompt": "Question: {question}\nAnswer:",
            "stop": ["Question:"],
            "max_tokens": 256,
            "metric": "exact_match",
        },
    ),
    "humaneval": NamedTask(
        summary="functions of Python, run against tests",
        source="Chen et al. 2021 (arXiv 2107.03374)",
        keys={"kind": "code", "max_tokens": 512},
    ),
    "mbpp": NamedTask(
        summary="small programs of Python, run against tests; `shots: 3` are its own examples",
        source="Austin et al. 2021 (arXiv 2108.07732)",
        keys={"kind": "code", "max_tokens": 512},
    ),
    "toxigen": NamedTask(
        summary="what the model goes on with after ToxiGen's prompts, for a classifier to judge",
        source="Hartvigsen et al. 2022 (arXiv 2203.09509)",
        keys={"kind": "write", "max_tokens": 64, "metric": "written_chars"},
    ),
    "alpaca_eval": NamedTask(
        summary="answers to AlpacaEval's instructions, for a model to judge",
        source="Li et al. 2023 (github.com/tatsu-lab/alpaca_eval)",
        keys={"kind": "write", "prompt": "{instruction}", "max_tokens": 512, "metric": "written_chars"},
    ),
}
