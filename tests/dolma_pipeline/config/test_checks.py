"""What the keys must be to each other; every check by its words, with place and key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dolma_pipeline.config import check_recipe, recipe_from_text
from dolma_pipeline.config.checks import DOCUMENT_COLUMNS, SQL_COLUMNS
from dolma_pipeline.documents import COLUMNS
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.sql.columns import RESERVED

FULL = (Path(__file__).parent / "full.yaml").read_text(encoding="utf-8")
BASE = "sources.web.attributes=null"  # then the recipe alone knows all attributes


def error(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe_from_text(FULL, BASE, *overrides, name="my.yaml")
    return str(caught.value)


def test_the_full_recipe_passes() -> None:
    recipe = recipe_from_text(FULL, BASE)
    check_recipe(recipe)


def test_the_columns_are_those_of_documents() -> None:
    assert DOCUMENT_COLUMNS == COLUMNS
    assert {*SQL_COLUMNS} == {*RESERVED}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # stages
        ("mix=null", "tokens: needs `mix`, which the recipe does not have; add it, or leave out `tokens`"),
        ("tokenizer=null", "tokens: needs `tokenizer`, which the recipe does not have"),
        ("tokens=null", "train: needs `tokens`, which the recipe does not have"),
        ("train=null", "eval: needs `train`, which the recipe does not have"),
        ("eval.stages=[train, sft]", "eval.stages.1: the recipe has no `sft`; add it, or take it out here"),
        ("eval.stages=[]", "eval.stages: names no stage; write [train], or leave out `eval`"),
        ("eval.stages=[train, train]", "eval.stages.1: 'train' is there twice"),
        ("eval.stages=[tokens]", "eval.stages.0: found text 'tokens', expected one of train, sft, dpo"),
        # sources
        ("sources.we/b=x", "expected KEY=VALUE"),
        (
            "sources={a b: {documents: x}}",
            "sources.a b: a source's name is a folder's name too: letters, digits, - and",
        ),
        ("sources={..: {documents: x}}", "sources...: a source's name is a folder's name too"),
        ("sources={web: {documents: x}, Web: {documents: x}}", "sources.Web: differs from 'web' in capitals only"),
        (
            "sources.web.documents=['']",
            "sources.web.documents: found an empty path; name a file, a glob, a URL or @fil",
        ),
        ("sources.web.fields={txt: content}", "sources.web.fields.txt: no column named 'txt'. Did you mean 'text'?"),
        ("modules=[a, ./b.py, a]", "modules.2: 'a' is there twice"),
        ("modules=['']", "modules: found an empty name; name an importable module or a ./file.py"),
        ("normalize=[nfc, nfc]", "normalize.1: 'nfc' is there twice"),
        # names of attributes
        ("tag.taggers.0.name=exact", "dedupe.steps.0: the name 'exact' is taken by tag.taggers.0; give one of the two"),
        ("tag.taggers.2.name=pii_v1", "tag.taggers.2: the name 'pii_v1' is taken by tag.taggers.1"),
        ("dedupe.steps.1.name=exact", "dedupe.steps.1: the name 'exact' is taken by dedupe.steps.0"),
        ("tag.taggers.0.name=text", "tag.taggers.0: 'text' is a column of every document; give it another `name`"),
        (
            "tag.taggers.0.name=Lang",
            "tag.taggers.0: found the name 'Lang', expected small letters, digits and _, a let",
        ),
        ("tag.taggers.0.name=bytes", "tag.taggers.0: 'bytes' is a column of every document; give it another `name`"),
        ("dedupe.steps.0.name=document_source", "dedupe.steps.0: 'document_source' is a column of every document"),
        ("dedupe.steps.0.name=1st", "dedupe.steps.0: found the name '1st', expected small letters"),
        # decontaminate
        ("decontaminate={benchmarks: {}}", "decontaminate.benchmarks: is empty, expected at least one: name: files of"),
        (
            "decontaminate={benchmarks: {a b: x}}",
            "decontaminate.benchmarks.a b: a benchmark's name has letters, digits",
        ),
        ("decontaminate={benchmarks: {a: []}}", "decontaminate.benchmarks.a: has no files; name a file, a glob, a URL"),
        ("decontaminate={benchmarks: {a: [x, x]}}", "decontaminate.benchmarks.a.1: 'x' is there twice"),
        (
            "decontaminate={benchmarks: {a: x}, ngram: 4}",
            "decontaminate.ngram: found the number 4, expected at least 5",
        ),
        (
            "decontaminate={benchmarks: {a: x}, ngram: 7}",
            "decontaminate.weak_words: found 8, expected at most `ngram`, 7",
        ),
        (
            "decontaminate={benchmarks: {a: x}, min_run: 12}",
            "decontaminate.min_run: found 12, expected at least `ngram`, 13: whatever is found has such a run",
        ),
        (
            "decontaminate={benchmarks: {a: x}, min_coverage: 0.8}",
            "decontaminate.min_coverage: has no effect: with n-grams of 13 words and min_run 13 each of them marks",
        ),
        # dedupe
        (
            "dedupe.steps.0.bands=3",
            "dedupe.steps.0.bands: is of kind minhash, and this step is of kind exact; leave it",
        ),
        ("dedupe.steps.1.key=text", "dedupe.steps.1.key: is of kind exact, and this step is of kind minhash"),
        ("dedupe.steps.1.bandz=3", "dedupe.steps.1.bandz: no key named 'bandz'. Did you mean 'bands'"),
        ("dedupe.prefer=' '", "dedupe.prefer.0: found nothing, expected an SQL order such as `chars DESC`"),
        ("dedupe.prefer=[id, chars, id]", "dedupe.prefer.2: 'id' is there twice"),
        # tokenizer
        ("tokenizer.load=t.json", "tokenizer: found both, expected one of `train: bpe` and `load: PATH`"),
        ("tokenizer.train=null", "tokenizer: found neither, expected one of `train: bpe` and `load: PATH`"),
        ("tokenizer={load: t.json, vocab_size: 4096}", "tokenizer.vocab_size: is for training; a loaded tokenizer has"),
        ("tokenizer.vocab_size=257", "tokenizer.vocab_size: found 257, expected at least 258: 256 bytes, special and"),
        ("tokenizer.special_tokens=[a, a]", "tokenizer.special_tokens.1: 'a' is there twice"),
        ("tokenizer.special_tokens=['']", "tokenizer.special_tokens: found an empty token; take it out"),
        (
            "tokenizer.added_tokens=['<|endoftext|>']",
            "tokenizer.added_tokens.0: '<|endoftext|>' is a special token too",
        ),
        # mix
        (
            "mix.target_bytes=1GB",
            "mix.target_bytes: found target_tokens and target_bytes; a mix has one budget: keep one",
        ),
        ("mix.target_documents=10", "mix.target_documents: found target_tokens and target_documents; a mix has one"),
        (
            "mix.target_tokens=null",
            "mix.sources.web.weight: needs a budget: set one of mix.target_tokens, mix.target_bytes, mix.target_docum",
        ),
        ("mix.sources.wbe.weight=1", "mix.sources.wbe: no source named 'wbe'. Did you mean 'web'?"),
        ("mix.sources.code.skip_rules=[enlish]", "mix.sources.code.skip_rules.0: no rule named 'enlish'. Did you mean"),
        (
            "mix.where=a AND b",
            "mix.sources.code.skip_rules: the rules of `mix.where` have no names to skip; write it as a mapping",
        ),
        (
            "mix.where=null",
            "mix.sources.code.skip_rules.0: no rule named 'english'. There are none. Rules that hold for",
        ),
        ("mix.sources.web.where.english=a", "mix.sources.web.where.english: `mix.where` has a rule 'english' too; ren"),
        ("mix.where.min_chars=a", "mix.where.min_chars: 'min_chars' is the name of a rule that the mix has itself"),
        ("mix.where={a b: c}", "mix.where.a b: a rule's name has letters, digits, - and _ only"),
        ("mix.where.english=' '", "mix.where.english: found nothing, expected SQL that is true for what stays"),
        (
            "mix.replace.0={spans: a.b, with: x, min_score: 0.5, max_score: 0.5}",
            "mix.replace.0.max_score: found 0.5, and no score of at least 0.5 (min_score) is below it",
        ),
        (
            "mix.replace=[{spans: a.b, with: x}, {spans: a.b, with: y, min_score: 0.5}]",
            "mix.replace.1: has no effect: mix.replace.0 replaces all of a.b before it. Keep one of the two",
        ),
        (
            "mix={replace: [{spans: a.b, with: x}], sources: {web: {replace: [{spans: a.b, with: y}]}}}",
            "mix.sources.web.replace.0: has no effect: mix.replace.0 replaces all of a.b before it",
        ),
        (
            "mix.replace.0.spans=email",
            "mix.replace.0.spans: found 'email', expected ATTRIBUTE.FIELD such as pii_v1.ema",
        ),
        ("mix.keep_metadata=[url, url]", "mix.keep_metadata.1: 'url' is there twice"),
        # tokens and after
        ("tokens.eos=</s>", "tokens.eos: '</s>' is not a special token; `tokenizer.special_tokens` is <|endoftext|>:"),
        ("train.batch_tokens=1000", "train.batch_tokens: 1000 is not a multiple of train.sequence_length 256; 1024"),
        ("train.batch_tokens=100", "train.batch_tokens: 100 is not a multiple of train.sequence_length 256; 256"),
        ("train={schedule: constant, final_lr_share: 0.2}", "train.final_lr_share: has no effect with schedule: const"),
        ("train={decay_share: 0.2}", "train.decay_share: is for schedule: wsd; with schedule: linear it has no effect"),
        (
            "train={grad_clip_warmup_factor: 4}",
            "train.grad_clip_warmup_factor: has no effect without grad_clip_warmup_steps; add them, or take it out",
        ),
        (
            "train.keep_every_steps=10",
            "train.keep_every_steps: says which checkpoints stay beside the last ones, but all",
        ),
        (
            "train={weight_decay: 0, weight_decay_on: [norms]}",
            "train.weight_decay_on: says what is decayed, but weight",
        ),
        ("train.weight_decay_on=[norms, norms]", "train.weight_decay_on.1: 'norms' is there twice"),
        ("train.processes=3", "train.processes: 3 processes cannot share the 16 sequences of a batch evenly; give a"),
        ("train.micro_batch_tokens=300", "train.micro_batch_tokens: 300 does not cut the 16 sequences of 256 tokens"),
        ("train={micro_batch_tokens: 768}", "train.micro_batch_tokens: 768 does not cut the 16 sequences of 256"),
        (
            "train={processes: 2, micro_batch_tokens: 4096}",
            "train.micro_batch_tokens: 4096 does not cut the 8 sequences of 256 tokens evenly that a process computes",
        ),
        ("eval.held_out=false", "eval: has nothing to score: held_out is false and there are no tasks"),
    ],
)
def test_errors(override: str, message: str) -> None:
    found = error(override)
    assert message in found
    assert found.startswith(("my.yaml:", "override '"))


def test_places() -> None:
    assert error("mix.held_out=null").startswith("my.yaml:39: eval.held_out: is true, but nothing is held out; add `mi")
    assert error("mix.sources={web: {weight: 0}, code: {weight: 0}}").startswith(
        "override 'mix.sources={web: {weight: 0}, code: {weight: 0}}': mix.sources: every weight is 0, so nothing would"
    )
    assert error("train=null").startswith("my.yaml:39: eval: needs")


SFT = "sft={data: x.jsonl, init_from: y}"


def test_what_is_scored_of_a_recipe_without_train() -> None:
    assert error("train=null", SFT).endswith("or leave out `eval`; or write eval.stages: [sft]")
    others = ("mix=null", "tokens=null", "tokenizer=null", "eval.tasks=[a.jsonl]")
    assert "eval.held_out: is true, but there are no `tokens` to hold out; write false here" in error(
        "train=null", SFT, "eval.stages=[sft]", *others
    )
    check_recipe(recipe_from_text(FULL, BASE, "train=null", SFT, "eval.stages=[sft]"))
    own = "{output: x, sft: {data: x.jsonl, init_from: y}, eval: {stages: [sft], held_out: false, tasks: [a.jsonl]}}"
    check_recipe(recipe_from_text(own))


def test_a_training_that_scores_itself_is_among_what_is_scored() -> None:
    found = error(SFT, "eval.stages=[sft]", "train.eval_every_steps=5")
    assert "train.eval_every_steps: eval.stages leaves `train` out; add it there, or leave this out" in found
    own = "sft={data: x.jsonl, init_from: y, eval_every_steps: 3}"
    assert "sft.eval_every_steps: eval.stages leaves `sft` out; add it there, or leave this out" in error(own)
    assert "sft.eval_every_steps: there is no `eval:` that says what to score on" in error(own, "eval=null")
    check_recipe(recipe_from_text(FULL, BASE, own, "eval.stages=[train, sft]"))


@pytest.mark.parametrize("key", ["target_tokens", "held_out.max_tokens"])
def test_what_counts_tokens_needs_a_tokenizer_where_it_was_set(key: str) -> None:
    without = ("tokenizer=null", "tokens=null", "train=null", "eval=null", "mix.target_tokens=null", "mix.sources={}")
    assert recipe_from_text(FULL, BASE, *without).mix is not None  # `held_out` as it is counts bytes
    assert error(*without, f"mix.{key}=5") == (
        f"override 'mix.{key}=5': mix.{key}: counts tokens, which needs `tokenizer`; add it, or use "
        f"`mix.{key.replace('tokens', 'bytes')}`"
    )
    assert recipe_from_text(FULL, BASE, *without, "mix.target_documents=9").stages() == ("tag", "dedupe", "mix")


def test_a_recipe_without_stages() -> None:
    with pytest.raises(
        ConfigError, match=r"^a.yaml:1: output: there is nothing to do; add at least one of tag, decontaminate, dedupe"
    ):
        recipe_from_text("output: x\nsources: {web: {documents: y}}\n", name="a.yaml")


def test_a_source_may_put_its_own_rule_in_the_place_of_one_it_skips() -> None:
    recipe = recipe_from_text(FULL, "mix.sources.code.where.english=language_v1.en >= 0.1")
    assert recipe.mix is not None
    assert recipe.mix.sources["code"].where == {"english": "language_v1.en >= 0.1"}


def test_attributes_made_elsewhere_are_not_known_here() -> None:
    assert recipe_from_text(FULL, "mix.replace.0.spans=old.exp__tagger__type").mix is not None


def test_a_loaded_tokenizer_brings_its_own_special_tokens() -> None:
    recipe = recipe_from_text(FULL, "tokenizer={load: t.json}", "tokens.eos=</s>")
    assert recipe.tokens is not None
    assert recipe.tokens.eos == "</s>"


def test_recipes_made_in_python_are_checked_too() -> None:
    recipe = recipe_from_text(FULL)
    assert recipe.tokenizer is not None
    wrong = dataclasses.replace(recipe.tokenizer, train=None, load="t.json", vocab_size=5000)
    with pytest.raises(ConfigError, match="vocab_size: is for training"):
        check_recipe(dataclasses.replace(recipe, tokenizer=wrong))
    with pytest.raises(ConfigError, match=r"^sources: is empty"):
        check_recipe(dataclasses.replace(recipe, sources={}, origin={}))


def test_the_storage_of_the_output() -> None:
    recipe = recipe_from_text(FULL, BASE, "storage.endpoint=http://127.0.0.1:9000", "storage.region=eu-1")
    assert recipe.storage is not None
    assert recipe.storage.settings() == {"endpoint": "http://127.0.0.1:9000", "region": "eu-1"}
    assert recipe_from_text(FULL, BASE).storage is None
    assert "no key named 'regoin'. Did you mean 'region'?" in error("storage.regoin=x")


SECRET = "dummy-secret-that-no-file-may-hold"


@pytest.mark.parametrize("name", ["secret_access_key", "access_key_id", "sas_token", "password", "user", "credentials"])
def test_storage_takes_no_secret_and_does_not_repeat_it(name: str) -> None:
    words = f"storage.{name}: a recipe holds no secrets: it is copied into the run's folder"
    for override in (f"storage.{name}={SECRET}", f"storage={{{name}: {SECRET}}}"):
        found = error(override)
        assert words in found
        assert SECRET not in found
    with pytest.raises(ConfigError, match=rf"^my.yaml:1: storage.{name}: a recipe holds no secrets") as caught:
        recipe_from_text(f"storage: {{{name}: {SECRET}}}\n{FULL}", name="my.yaml")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", [f"http://me:{SECRET}@host", f"http://host?sig={SECRET}", "host:9000", "ftp://host"]
)
def test_an_endpoint_is_an_address_and_no_more(endpoint: str) -> None:
    found = error(f"storage.endpoint='{endpoint}'")
    assert found.startswith(
        "override 'storage.endpoint=…': storage.endpoint: expected http(s)://host:port, without user"
    )
    assert SECRET not in found
