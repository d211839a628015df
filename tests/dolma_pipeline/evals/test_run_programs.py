from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals import run_programs as module
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.programs import ProgramItem, read_programs
from dolma_pipeline.evals.run_programs import run_programs
from dolma_pipeline.evals.sandbox import Limits, Verdict


def item(key: str, *, after: str = "assert double(3) == 6\n") -> ProgramItem:
    return ProgramItem(key, f"items:{key}", f"# {key}\n", ("\nx",), "", after, "def double(n): return 2 * n")


class Written:
    """A model that has written what is given."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def __call__(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str], samples: int, temperature: float
    ) -> list[list[str]]:
        self.asked.append((list(prompts), max_tokens, stop, samples, temperature))
        return [self.answers[prompt.key] for prompt in prompts]


@pytest.mark.usefixtures("sandboxed")
def test_numbers_against_a_count_by_hand() -> None:
    """One item has 1 good sample of 3, one 2, one none; pass@2 of them is 2/3, 1 and 0."""
    good, wrong = "def double(n): return 2 * n", "def double(n): return n"
    loop, much = "while True: pass", "x = bytearray(10 << 30)"
    early = "import os\nos._exit(0)"
    model = Written({"a": [wrong, good, early], "b": [good, loop, good], "c": [much, wrong, "def"]})
    found = run_programs(
        [item("a"), item("b"), item("c")],
        model,
        samples=3,
        ks=(1, 2),
        temperature=0.8,
        max_tokens=17,
        allow_code=True,
        limits=Limits(cpu_seconds=1),
    )
    assert model.asked == [([Prompt("a", "# a\n"), Prompt("b", "# b\n"), Prompt("c", "# c\n")], 17, ("\nx",), 3, 0.8)]
    assert found == {
        "num_items": 3,
        "samples": 3,
        "pass@1": pytest.approx((1 / 3 + 2 / 3 + 0) / 3),
        "pass@1_stderr": pytest.approx(math.sqrt((0 + 1 / 9 + 1 / 9) / 2 / 3)),
        "pass@2": pytest.approx((2 / 3 + 1 + 0) / 3),
        "pass@2_stderr": pytest.approx(math.sqrt((1 / 81 + 16 / 81 + 25 / 81) / 2 / 3)),
        "passed": 3,
        "failed": 4,
        "timed_out": 1,
        "out_of_memory": 1,
        "items": [
            {"id": "a", "passed": 1, "failed": 2, "timed_out": 0, "out_of_memory": 0, "passed_samples": [1]},
            {"id": "b", "passed": 2, "failed": 0, "timed_out": 1, "out_of_memory": 0, "passed_samples": [0, 2]},
            {"id": "c", "passed": 0, "failed": 2, "timed_out": 0, "out_of_memory": 1, "passed_samples": []},
        ],
    }


def test_order_of_completion_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at once, each with a verdict that only its own program explains."""

    def run_code(program: str, *, allow_code: bool, limits: Limits) -> Verdict:
        assert allow_code
        return Verdict("passed" if "good" in program else "failed", "")

    monkeypatch.setattr(module, "run_code", run_code)
    monkeypatch.setattr(module, "require_sandbox", lambda **_: None)
    monkeypatch.setattr(module, "num_cores", lambda: 8)
    answers = {str(n): ["good" if (n * 7 + at) % 3 == 0 else "bad" for at in range(5)] for n in range(40)}
    found = run_programs(
        [item(key) for key in answers],
        Written(answers),
        samples=5,
        ks=[1],
        temperature=1.0,
        max_tokens=1,
        allow_code=True,
    )
    assert [row["passed_samples"] for row in found["items"]] == [
        [at for at, text in enumerate(own) if text == "good"] for own in answers.values()
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allow_code": False}, "--allow-code"),
        ({"ks": [1, 3]}, r"k is \[1, 3\] and samples 2"),
        ({"ks": [0]}, r"k is \[0\] and samples 2"),
        ({"ks": []}, r"k is \[\] and samples 2"),
        ({"temperature": 0.0}, "temperature is 0 and samples 2: they would all be the same"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_model_writes(options: dict[str, object], words: str) -> None:
    model = Written({})
    asked = {"samples": 2, "ks": [1], "temperature": 0.8, "max_tokens": 1, "allow_code": True} | options
    with pytest.raises(UsageError, match=words):
        run_programs([item("a")], model, **asked)  # type: ignore[arg-type]
    assert model.asked == []


@pytest.mark.slow
@pytest.mark.usefixtures("sandboxed")
def test_humanevals_own_solutions_pass_and_corrupted_ones_fail(data: Path) -> None:
    items = read_programs(data / "eval/humaneval.jsonl")
    nothing = "    return None\n"
    model = Written({one.key: [one.solution, nothing, one.solution.replace(":\n", "\n", 1) + " 1"] for one in items})
    found = run_programs(
        items, model, samples=3, ks=[1, 3], temperature=0.5, max_tokens=1, allow_code=True, limits=Limits()
    )
    assert [row["passed_samples"] for row in found["items"]] == [[0]] * 82
    assert (found["passed"], found["failed"]) == (82, 164)
    assert found["pass@1"] == pytest.approx(1 / 3)
    assert found["pass@3"] == 1.0
