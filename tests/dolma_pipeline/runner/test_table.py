"""The tables that a person reads."""

from __future__ import annotations

from typing import Any

from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.runner.decide import Decision
from dolma_pipeline.runner.result import Counts, Manifest, Result
from dolma_pipeline.runner.table import result_text, table


def manifest(name: str, stage: str, counts: dict[str, Any], **record: Any) -> Manifest:
    return Manifest(name, stage, {source: Counts(**found) for source, found in counts.items()}, record)


RULE = {"first": 2, "any": 3, "alone": 1, "null": 0}
MIX = {
    "code": {
        "in": 1200,
        "kept": 1200,
        "dropped": 0,
        "failed": 0,
        "bytes_in": 500_000,
        "bytes_kept": 400_000,
        "rules": {},
    },
    "web": {
        "in": 10,
        "kept": 7,
        "dropped": 2,
        "failed": 1,
        "edited": 3,
        "held_out": 1,
        "chosen": 6,
        "bytes_in": 500_000,
        "bytes_kept": 250_000,
        "rules": {"words": RULE},
    },
}
PLAN = {"code": {"tokens": 123456, "epochs": 1.0, "limited": True}, "web": {"tokens": 999, "epochs": 0.33333}}
EVENTS = [
    {"time": 10.0, "step": "encode", "event": "begin"},
    {"time": 12.0, "step": "encode", "event": "end", "cpu_seconds": 3.0},
    {"time": 12.0, "step": "mix/plan", "event": "begin"},
    {"time": 13.0, "step": "mix/plan", "event": "end", "cpu_seconds": 1.0},
]
SCORES = {
    0: {"held_out": {"web": {"bits_per_byte": 8.1, "num_documents": 9, "num_bytes": 1234}}},
    200: {"held_out": {"web": {"bits_per_byte": 2.25, "num_documents": 9, "num_bytes": 1234}}},
}
METRICS = [
    {"step": 1, "tokens": 4096, "loss": 8.31776, "lr": 1e-4},
    {"step": 200, "tokens": 819200, "loss": 5.5, "lr": 3e-3},
]

GOLDEN = """\
stages
stage     in   kept  dropped  failed   MB  MB/s  CPU MB/s  seconds
-----  -----  -----  -------  ------  ---  ----  --------  -------
mix    1,210  1,207        2       1  1.0   0.3       0.2      3.0

dropped by rule (mix; first reason / any reason / only reason)
rule   code        web
-----  ----  ---------
words     -  2 / 3 / 1

sources
source     in   kept  dropped  failed  edited  held out  chosen  MB kept   tokens  epochs
------  -----  -----  -------  ------  ------  --------  ------  -------  -------  ------
code    1,200  1,200        0       0       0         0       0     0.40  123,456       1
web        10      7        2       1       3         1       6     0.25      999   0.333
tokens count the EOS of each document

training
step   tokens    loss        lr
----  -------  ------  --------
1       4,096  8.3178  1.00e-04
200   819,200  5.5000  3.00e-03
loss 8.318 █▁ 5.5

bits per byte, held out
source  step 0  step 200  documents  bytes
------  ------  --------  ---------  -----
web     8.1000    2.2500          9  1,234

what to try next
  rule 'words' alone drops 1 documents of one source: look at them in runs/a/mix/dropped/
  code: max_epochs cut the share that the weights ask for
  change a rule in the recipe and run again with --redo: tagging is not repeated
  scores: runs/a/eval/; metrics: runs/a/train/metrics.jsonl
"""


ORDER = {"code": {"mix.where: order": []}, "web": {"mix.where: order": ["words"]}}
MANIFESTS = {
    "mix/verdicts": manifest("mix/verdicts", "mix", MIX, source_config=ORDER),
    "mix": manifest("mix", "mix", MIX, plan=PLAN),
}


def test_a_small_result() -> None:
    assert result_text(Result("runs/a", MANIFESTS, SCORES, METRICS, EVENTS)) == GOLDEN


def test_scores_of_stages_have_titles_of_their_own() -> None:
    shown = result_text(Result("runs/a", MANIFESTS, SCORES, METRICS, EVENTS, stage_scores={"sft": SCORES}))
    _, title, rest = GOLDEN.partition("bits per byte, held out\n")
    scores = rest.partition("\n\n")[0]
    assert f"{title}{scores}\n\nsft: {title}{scores}\n" in shown


def test_training_by_source_with_a_skipped_step() -> None:
    metrics = [
        {"step": 1, "tokens": 8, "loss": 4.0, "lr": 0.1, "loss_by_source": {"web": 3.0, "code": 5.0}},
        {"step": 2, "tokens": 16, "loss": None, "lr": 0.2, "skipped": True},
    ]
    shown = result_text(Result("runs/a", MANIFESTS, {}, metrics, EVENTS))
    assert (
        """training
step  tokens     loss    code     web        lr
----  ------  -------  ------  ------  --------
1          8   4.0000  5.0000  3.0000  1.00e-01
2         16  skipped       -       -  2.00e-01
loss 4 ▁ 4; 1 steps skipped
"""
        in shown
    )


def test_a_step_that_ran_twice_counts_the_last_time() -> None:
    later = [{**event, "time": event["time"] + 100} for event in EVENTS]
    broken = [{"time": 50.0, "step": "encode", "event": "begin"}]
    assert result_text(Result("runs/a", MANIFESTS, SCORES, METRICS, [*EVENTS, *broken, *later])) == GOLDEN


def test_a_dry_run_and_nothing_to_do() -> None:
    planned = [Decision(Artifact("attributes/x_v1", "tag"), "grow"), Decision(Artifact("mix", "mix"), "again")]
    assert result_text(Result("runs/a", {}, planned=planned, num_shards=3, dry_run=True)) == (
        "3 shards; all names, files and rules are in order.\n\n"
        "would make       state\n"
        "---------------  -----\n"
        "attributes/x_v1   grow\n"
        "mix              again\n"
    )
    done = "nothing to do: runs/a holds all of this already\n"
    assert result_text(Result("runs/a", {}, dry_run=True)) == done
    assert result_text(Result("runs/a", {}, nothing_to_do=True)) == done


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert table([["a", "number"], ["longer", "1"]]) == "a       number\n------  ------\nlonger       1"


def test_dedupe_shows_what_all_its_steps_together_do_not_keep() -> None:
    signed = {"web": {"in": 11, "kept": 10, "dropped": 0, "failed": 1, "bytes_in": 0}}
    exact = {"web": {"in": 11, "kept": 8, "dropped": 2, "failed": 1, "dropped_so_far": 2}}
    near = {"web": {"in": 11, "kept": 6, "dropped": 4, "failed": 1, "dropped_so_far": 5}}
    units = {"dedupe/near": signed, "attributes/exact": exact, "attributes/near": near}
    result = Result(output="o", manifests={name: manifest(name, "dedupe", counts) for name, counts in units.items()})
    row = next(line for line in result_text(result).splitlines() if line.startswith("dedupe"))
    assert row.split() == ["dedupe", "11", "5", "5", "1"]


def test_warnings_of_manifests_are_shown() -> None:
    quiet = {"mix": manifest("mix", "mix", MIX, plan=PLAN, warnings=[])}
    assert "warnings" not in result_text(Result("out", quiet))
    loud = {**quiet, "tokenizer": manifest("tokenizer", "tokenizer", {}, warnings=["one thing", "another"])}
    result = Result("out", loud)
    assert result.warnings() == ["tokenizer: one thing", "tokenizer: another"]
    assert "\n\nwarnings\n  tokenizer: one thing\n  tokenizer: another\n\n" in result_text(result)


def test_without_a_tokenizer_nothing_is_said_of_tokens() -> None:
    bare = {name: {key: value for key, value in one.items() if key != "tokens"} for name, one in PLAN.items()}
    text = result_text(Result("runs/a", {**MANIFESTS, "mix": manifest("mix", "mix", MIX, plan=bare)}))
    assert "token" not in text
    assert (
        "source     in   kept  dropped  failed  edited  held out  chosen  MB kept  epochs\n"
        "------  -----  -----  -------  ------  ------  --------  ------  -------  ------\n"
        "code    1,200  1,200        0       0       0         0       0     0.40       1\n"
        "web        10      7        2       1       3         1       6     0.25   0.333\n\n"
    ) in text


def test_what_dedupe_steps_mark_of_each_source() -> None:
    looks = {
        "sources": {"code": {"documents": 1200, "removed": 0, "share": 0.0},
                    "web": {"documents": 9000, "removed": 1800, "share": 0.2}},
        "largest_stars": [{"keeper": "web/a#0", "source": "web", "removed": 1100},
                          {"keeper": "web/a#7", "source": "web", "removed": 20}],
    }  # fmt: skip
    counts = {"in": 9000, "failed": 0, "dropped_so_far": 1800}
    manifests = {
        "dedupe/near": manifest("dedupe/near", "dedupe", {"web": {"bytes_in": 5}}, without_key={"code": 1234}),
        "attributes/near": manifest("attributes/near", "dedupe", {"web": counts}, looks=looks),
    }
    text = result_text(Result("run", manifests))
    assert text[text.index("duplicates") :].split("\n\n")[0].splitlines()[2:] == [
        "------------  ---------  -------  -----  -------------  -----------------------",
        "near: code        1,200        0   0.0%          1,234",
        "near: web         9,000    1,800  20.0%              0                    1,100",
    ]
