from __future__ import annotations

import gzip
import json
import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer
from torch.distributed.checkpoint.state_dict_saver import save

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DataError, RunError, UsageError
from dolma_pipeline.evals import evaluate
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.run import Options, run_tokenizer
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.train.files import read_settings
from dolma_pipeline.train.model import Decoder
from tests.dolma_pipeline.evals.conftest import TEXTS

TASK = '{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return"], "gold": 0}\n'


def test_results_are_whole_and_the_same_each_time(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    task = run.parent / "cats.jsonl"
    task.write_text(TASK * 3)
    found = evaluate(run, 7, EvalConfig(tasks=(str(task),)))
    path = run / "eval/step-000007.json"
    content = path.read_bytes()
    assert json.loads(content) == found
    assert (found["step"], found["tokens"]) == (7, 7 * 96)
    assert found["digests"]["train_data"] == "sha256:train"
    assert all(value.startswith("sha256:") for value in found["digests"].values())
    assert list(found["held_out"]) == ["code", "web"]
    assert set(found["held_out"]["web"]) == {
        "num_documents", "num_tokens", "num_bytes", "nats", "nats_per_token", "perplexity", "bits_per_byte",
        "bits_per_byte_stderr", "data", "rows",
    }  # fmt: skip
    assert found["held_out"]["code"]["num_bytes"] == 27 + 36  # the text `<|endoftext|>` is text
    assert found["tasks"]["cats"]["num_items"] == 3
    path.unlink()
    evaluate(run, 7, EvalConfig(tasks=(str(task),)))
    assert path.read_bytes() == content
    assert "eval: step 7, web: " in capfd.readouterr().err


def test_without_held_out_documents(run: Path) -> None:
    shutil.rmtree(run / "tokens/held_out")
    with pytest.raises(UsageError, match=r"eval\.held_out is true, but .* has no documents.*eval\.held_out: false"):
        evaluate(run, 7, EvalConfig())
    cats = write(run / "cats.jsonl", TASK)
    assert evaluate(run, 7, EvalConfig(held_out=False, tasks=(cats,)))["held_out"] == {}
    with pytest.raises(UsageError, match="there is nothing to score: no held-out documents, no documents and no tasks"):
        evaluate(run, 7, EvalConfig(held_out=False))


def test_held_out_documents_that_are_lost_are_not_left_out(run: Path) -> None:
    """The list of the run says of which sources there are some, not what lies in the folder."""
    shards = [f"held_out/{source}/part-00000" for source in ("code", "web")]
    records = [{"shard": shard, "outputs": [{"path": f"{shard}.npy"}]} for shard in shards]
    (run / "tokens/shards.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert list(evaluate(run, 7, EvalConfig())["held_out"]) == ["code", "web"]
    shutil.rmtree(run / "tokens/held_out/web")
    with pytest.raises(DataError, match=r"tokens/held_out/web: no part-\*\.npy \(there is no such folder\)"):
        evaluate(run, 7, EvalConfig())


def test_mistakes_are_found_before_work(run: Path) -> None:
    (run / "a").mkdir()
    for name in ("task.jsonl", "a/task.jsonl"):
        (run / name).write_text(TASK)
    with pytest.raises(UsageError, match="have the same name; rename one of them"):
        evaluate(run, 7, EvalConfig(tasks=(str(run / "task.jsonl"), str(run / "a/task.jsonl"))))
    (run / "task.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"task\.jsonl:1: "):
        evaluate(run, 99, EvalConfig(tasks=(str(run / "task.jsonl"),)))
    assert not (run / "eval").exists()


def test_real_tasks(run: Path, data: Path, tmp_path: Path) -> None:
    tasks = []
    for name in ("arc_easy", "winogrande", "boolq"):
        lines = (data / "eval" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)[:20]
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(lines))
        tasks.append(str(tmp_path / f"{name}.jsonl"))
    found = evaluate(run, 7, EvalConfig(held_out=False, tasks=tuple(tasks)))["tasks"]
    assert {name: (row["num_items"], row["chance"]) for name, row in found.items()} == {
        "arc_easy": (20, 0.25),
        "winogrande": (20, 0.5),
        "boolq": (20, 0.5),
    }
    for row in found.values():
        assert 0 <= row["acc"] <= 1
        assert row["acc_stderr"] < 0.12
        assert 1 < row["gold_bits_per_byte"] < 40
    assert found["boolq"]["num_cut"] == 20  # passages are longer than 24 tokens


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_tasks_are_added_and_a_changed_file_replaces_its_own(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cats, dogs = write(run / "cats.jsonl", TASK), write(run / "dogs.jsonl", TASK * 2)
    first = evaluate(run, 7, EvalConfig(tasks=(cats,)))
    both = evaluate(run, 7, EvalConfig(held_out=False, tasks=(cats, dogs)))
    assert both["held_out"] == first["held_out"]
    assert list(both["tasks"]) == ["cats", "dogs"]
    assert "eval: step 7, cats: scored already\n" in capfd.readouterr().err
    at_once = run / "eval/step-000007.json"
    content = at_once.read_bytes()
    at_once.unlink()
    evaluate(run, 7, EvalConfig(tasks=(dogs, cats)))
    assert at_once.read_bytes() == content  # the order does not matter

    write(run / "cats.jsonl", TASK.replace('"gold": 0', '"gold": 1'))
    changed = evaluate(run, 7, EvalConfig(held_out=False, tasks=(cats,)))["tasks"]
    assert changed["dogs"] == both["tasks"]["dogs"]
    assert changed["cats"]["data"] != both["tasks"]["cats"]["data"]
    assert changed["cats"]["acc"] == 1 - both["tasks"]["cats"]["acc"]


def test_other_settings_of_a_task_are_scored_anew(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(run / "items.jsonl", TASK)
    task = write(run / "cats.yaml", "items: items.jsonl\nprefix: eos\n")
    config = EvalConfig(held_out=False, tasks=(task,))
    first = evaluate(run, 7, config)["tasks"]["cats"]
    write(run / "cats.yaml", "items: items.jsonl\nprefix: none\n")
    second = evaluate(run, 7, config)["tasks"]["cats"]
    assert first["data"] == second["data"]
    assert first["gold_bits_per_byte"] != second["gold_bits_per_byte"]
    assert "scored already" not in capfd.readouterr().err
    (run / "eval/step-000007/cats.jsonl").write_text("{}\n")  # rows that are not the entry's
    assert evaluate(run, 7, config)["tasks"]["cats"] == second
    assert "scored already" not in capfd.readouterr().err


def test_rows_tell_of_each_item(run: Path) -> None:
    cats = write(run / "cats.jsonl", TASK * 2)
    entry = evaluate(run, 7, EvalConfig(tasks=(cats,)))["tasks"]["cats"]
    rows = [json.loads(line) for line in (run / "eval/step-000007/cats.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "a"]
    assert sum(row["scores"]["acc"] for row in rows) / 2 == entry["acc"]
    assert len(rows[0]["nats"]) == 2
    documents = (run / "eval/step-000007/held_out/web.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in documents] == ["0", "1", "2", "3", "4"]


def test_parts_of_tasks_are_never_taken_for_whole_ones(run: Path) -> None:
    cats = write(run / "cats.jsonl", TASK * 3)
    some = evaluate(run, 7, EvalConfig(tasks=(cats,)), Options(limit=2))
    assert (some["limit"], some["tasks"]["cats"]["num_items"], some["held_out"]["web"]["num_documents"]) == (2, 2, 2)
    assert not (run / "eval/step-000007.json").exists()
    whole = evaluate(run, 7, EvalConfig(tasks=(cats,)))
    assert ("limit" not in whole, whole["tasks"]["cats"]["num_items"]) == (True, 3)
    halves = evaluate(run, 7, EvalConfig(tasks=(cats,), precision="bf16"))
    assert halves["precision"] == "bf16"
    assert halves["held_out"]["web"]["nats"] == pytest.approx(whole["held_out"]["web"]["nats"], rel=0.02)
    assert halves["held_out"]["web"]["nats"] != whole["held_out"]["web"]["nats"]
    assert sorted(path.name for path in (run / "eval").iterdir()) == [
        "bf16", "limit-2", "step-000007", "step-000007.json",
    ]  # fmt: skip


def test_results_of_other_weights_go(run: Path, tmp_path: Path) -> None:
    cats, dogs = write(run / "cats.jsonl", TASK), write(run / "dogs.jsonl", TASK)
    evaluate(run, 7, EvalConfig(held_out=False, tasks=(cats,)))
    found = json.loads((run / "eval/step-000007.json").read_text())
    found["digests"]["weights"] = "sha256:of a training before"
    write(run / "eval/step-000007.json", json.dumps(found))
    assert list(evaluate(run, 7, EvalConfig(held_out=False, tasks=(dogs,)))["tasks"]) == ["dogs"]


def test_documents_by_domain(run: Path, tokenizer: Tokenizer) -> None:
    """The same texts as the held-out ones of `web`, so the same numbers."""
    rows = [{"id": f"w{i}", "text": text} for i, text in enumerate(TEXTS["web"])]
    first = write(run / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:2]))
    second = run / "b.jsonl.gz"
    second.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows[2:]).encode()))
    found = evaluate(run, 7, EvalConfig(documents={"web": (first, str(second))}))
    ours, theirs = found["documents"]["web"], found["held_out"]["web"]
    assert {**ours, "data": "", "rows": ""} == {**theirs, "data": "", "rows": ""}
    lines = (run / "eval/step-000007/documents/web.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["w0", "w1", "w2", "w3", "w4"]
    write(run / "a.jsonl", '{"text": 3}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: \"text\" is '3'; it must be a text"):
        evaluate(run, 7, EvalConfig(documents={"web": (first,)}))
    with pytest.raises(UsageError, match=r"eval\.documents\.web: .*none\.jsonl: no such file"):
        evaluate(run, 7, EvalConfig(documents={"web": (str(run / "none.jsonl"),)}))


def test_special_tokens_that_the_recipe_alone_names_stay_text(run: Path, tokenizer: Tokenizer) -> None:
    """`|||EMAIL|||` is an ordinary added token of the file, which would be read out of a text."""
    settings = read_settings(run)
    (mask,) = run_tokenizer(run, settings).added_ids.items()
    write(run / "tokenizer/manifest.json", json.dumps({"tokenizer": {"special": {mask[0]: mask[1]}}}))
    info = run_tokenizer(run, settings)
    assert {mask[0], "<|endoftext|>"} == {*info.special_ids}
    texts = [f"a{mask[0]}b", mask[0], "<|endoftext|>", " <|endoftext|> x"]
    ids = encoder(info).encode(pa.array(texts)).to_pylist()
    assert not {mask[1], 0} & {i for row in ids for i in row}
    assert [encoder(info).decode(row) for row in ids] == texts


def test_eos_is_special_whoever_made_the_tokenizer(run: Path, tokenizer: Tokenizer) -> None:
    text = (run / "tokenizer/tokenizer.json").read_text()
    tree = json.loads(text)
    assert tree["added_tokens"][0]["content"] == "<|endoftext|>"
    tree["added_tokens"][0]["special"] = False
    write(run / "tokenizer/tokenizer.json", json.dumps(tree))
    info = run_tokenizer(run, read_settings(run))
    assert 0 not in encoder(info).encode(pa.array(["<|endoftext|>"])).to_pylist()[0]
    small = replace(read_settings(run), model=replace(read_settings(run).model, vocab_size=100))
    with pytest.raises(DataError, match=r"has \d+ ids, but the model's vocabulary has 100; it is not the tokenizer"):
        run_tokenizer(run, small)


def test_broken_weights_have_no_score(run: Path, model: Decoder) -> None:
    """NaN compares to nothing, so a broken model would score what the first answers score."""
    broken = {name: torch.full_like(weight, math.nan) for name, weight in model.state_dict().items()}
    shutil.rmtree(run / "train/step-000007/model_and_optim")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no other processes
        save({"model": broken}, checkpoint_id=run / "train/step-000007/model_and_optim", no_dist=True)
    cats = write(run / "cats.jsonl", TASK)
    with pytest.raises(RunError, match=r"^step 7, cats: 2 of 2 numbers are not finite: embedding\.weight of this"):
        evaluate(run, 7, EvalConfig(held_out=False, tasks=(cats,)))
    assert not (run / "eval").exists()


def test_tasks_that_let_the_model_write(run: Path) -> None:
    write(run / "sums-items.jsonl", '{"id": "a", "question": "1 + 1?", "answer": "#### 2"}\n')
    sums = write(run / "sums.yaml", "preset: gsm8k\nitems: sums-items.jsonl\nmax_tokens: 5\n")
    write(run / "say-items.jsonl", '{"id": "x", "prompt": "the cat"}\n{"id": "y", "prompt": "that"}\n')
    config = "kind: write\nitems: say-items.jsonl\nmax_tokens: 6\nsamples: 2\ntemperature: 1.0\nseed: 3\n"
    say = write(run / "say.yaml", config)
    found = evaluate(run, 7, EvalConfig(held_out=False, tasks=(sums, say)))["tasks"]
    assert (found["sums"]["num_items"], found["sums"]["exact_match"], found["sums"]["num_cut"]) == (1, 0.0, 1)
    assert found["sums"]["metric"] == "exact_match"
    path = run / "eval/step-000007/say.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["id"], row["prompt"], row["sample"]) for row in rows] == [
        ("x", "the cat", 0), ("x", "the cat", 1), ("y", "that", 0), ("y", "that", 1),
    ]  # fmt: skip
    assert rows[0]["text"] != rows[1]["text"]
    content = path.read_bytes()
    path.unlink()
    evaluate(run, 7, EvalConfig(held_out=False, tasks=(say,)))
    assert path.read_bytes() == content
    write(run / "say.yaml", config.replace("seed: 3", "seed: 4"))
    evaluate(run, 7, EvalConfig(held_out=False, tasks=(say,)))
    assert path.read_bytes() != content


def test_programs_are_not_run_without_permission(run: Path) -> None:
    row = {"task_id": "a", "prompt": "x", "entry_point": "f", "canonical_solution": "y", "test": "z"}
    write(run / "humaneval.jsonl", json.dumps(row))
    with pytest.raises(UsageError, match="--allow-code"):
        evaluate(run, 7, EvalConfig(held_out=False, tasks=(str(run / "humaneval.jsonl"),)))


def test_a_broken_model_writes_nothing(run: Path, model: Decoder) -> None:
    broken = Decoder(model.config)
    torch.nn.init.constant_(broken.embedding.weight, math.nan)
    subject = Subject(model=broken, eos_id=0, encode=list, decode=str, step=7)
    with pytest.raises(RunError, match=r"^step 7, say: nothing can be scored: embedding\.weight of this"):
        subject.completer("say", seed=0)


def test_another_metric_of_a_task_replaces_its_entry(run: Path) -> None:
    write(run / "items.jsonl", TASK.replace("}", ', "kind": "x"}') * 2)
    for metric in ("acc", "acc_norm"):
        task = write(run / "cats.yaml", f"items: items.jsonl\ngroup: kind\nmetric: {metric}\n")
        found = evaluate(run, 7, EvalConfig(held_out=False, tasks=(task,)))["tasks"]["cats"]
        assert (found["metric"], f"{metric}_macro" in found) == (metric, True)


def test_equal_weights_of_another_shape_are_another_model(run: Path) -> None:
    """As at step 0, after a change of heads or of the window: both leave the first weights as they were."""
    cats = write(run / "cats.jsonl", TASK)
    config = EvalConfig(held_out=False, tasks=(cats,))
    first = evaluate(run, 7, config)
    settings = read_settings(run)
    other = replace(settings, model=replace(settings.model, num_heads=4))
    (run / "train/config.json").write_bytes(pretty(other.as_dict()))
    second = evaluate(run, 7, config)
    assert second["digests"]["weights"] == first["digests"]["weights"]
    assert second["tasks"]["cats"]["gold_bits_per_byte"] != first["tasks"]["cats"]["gold_bits_per_byte"]


def test_a_checkpoint_of_another_tokenizer_is_refused(run: Path, tmp_path: Path) -> None:
    """Its ids are as many, but mean something else."""
    other = Path(shutil.copytree(run, tmp_path / "other"))
    config = EvalConfig(tasks=(write(run / "cats.jsonl", TASK),))
    assert evaluate(run, 7, config, Options(weights=other))["tasks"]["cats"]["num_items"] == 1
    path = other / "tokenizer/tokenizer.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UsageError, match=r"other/tokenizer/tokenizer\.json is not the tokenizer in .*Score it in its"):
        evaluate(run, 7, config, Options(weights=other))
    path.unlink()
    assert evaluate(run, 7, config, Options(weights=other))["tasks"]["cats"]["num_items"] == 1  # of the same parts
    (other / "train/config.json").write_bytes(pretty(replace(read_settings(run), dataset="sha256:else").as_dict()))
    with pytest.raises(UsageError, match=r"other/tokenizer/tokenizer\.json: no such file, and .* names other token"):
        evaluate(run, 7, config, Options(weights=other))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_leaves_something(limit: int) -> None:
    with pytest.raises(UsageError, match=f"limit is {limit}; it must be at least 1"):
        Options(limit=limit)


@pytest.mark.parametrize("name", ["../web", "a//b", "", "a=b"])
def test_names_of_domains_of_which_no_file_can_be_made(run: Path, name: str) -> None:
    file = write(run / "web.jsonl", '{"text": "x"}\n')
    with pytest.raises(UsageError, match=r"eval\.documents: a domain is called '.*'; results are filed by the name"):
        evaluate(run, 7, EvalConfig(held_out=False, documents={name: (file,)}))


def test_a_model_whose_arithmetic_overflows_writes_nothing(run: Path, model: Decoder) -> None:
    huge = Decoder(model.config).requires_grad_(False)
    for weight in huge.parameters():
        weight.fill_(1e30)
    subject = Subject(model=huge, eos_id=0, encode=lambda texts: [np.array([1])] * len(texts), decode=str, step=7)
    complete = subject.completer("say", seed=0)
    with pytest.raises(RunError, match=r"^step 7, say: logits are not finite: the arithmetic overflows"):
        complete([Prompt("a", "x")], max_tokens=2, stop=[], samples=1, temperature=0.0)
