"""Types, bounds, unknown and missing keys: one clear error each, with place, key, found, expected, advice."""

from __future__ import annotations

import pytest

from dolma_pipeline.config import recipe_from_text
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.config.resolve import resolved
from dolma_pipeline.config.write import resolved_yaml
from dolma_pipeline.errors import ConfigError

BASE = "output: runs/a\nsources: {web: {documents: a}}\ntag: {taggers: [gopher_v1]}\n"
FIRST = BASE.count("\n") + 1


def recipe(text: str) -> Recipe:
    return recipe_from_text(BASE + text, name="my.yaml")


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # wrong types
        ("seed: 1.5", "seed: found the number 1.5, expected a whole number; write it without a fraction"),
        ("seed: 2.0", "seed: found the number 2.0, expected a whole number; write 2"),
        ("seed: '2'", "seed: found text '2', expected a whole number; write it without quotes"),
        ("seed: true", "seed: found 'true' (true or false), expected a whole number"),
        ("seed: ~", "seed: found '~' (nothing), expected a whole number; leave the key out for its default"),
        ("seed: [1]", "seed: found a list of 1, expected a whole number"),
        ("name: 2024", 'name: found the number 2024, expected text; put it in quotes: "2024"'),
        ("name: true", "name: found 'true' (true or false), expected text; put it in quotes: \"true\""),
        ("name: ''", "name: is empty, expected text: in reports"),
        ("max_failed_share: a", "max_failed_share: found text 'a', expected a number"),
        ("max_failed_share: .nan", "max_failed_share: found the number .nan, expected a finite number"),
        ("max_failed_share: .inf", "max_failed_share: found the number .inf, expected a finite number"),
        ("workers: atuo", "workers: found text 'atuo', expected a whole number or auto; did you mean 'auto'?"),
        ("normalize: nfc", "normalize: found text 'nfc', expected a list; write [nfc]"),
        ("normalize: [nfd]", "normalize.0: found text 'nfd', expected one of nfc, whitespace; did you mean 'nfc'?"),
        ("train: [1]", "train: found a list of 1, expected a mapping with the keys model, shape, "),
        ("train:", "train: found nothing, expected a mapping with the keys model, "),
        ("eval: {held_out: no}", "eval.held_out: found text 'no', expected true or false"),
        ("eval: {tasks: a.jsonl}", "eval.tasks: found text 'a.jsonl', expected a list; write [a.jsonl]"),
        ("mix: {where: [a]}", "mix.where: found a list of 1, expected a mapping of name to text"),
        ("mix: {where: {a: 1}}", 'mix.where.a: found the number 1, expected text; put it in quotes: "1"'),
        ("mix: {replace: [a]}", "mix.replace.0: found text 'a', expected a mapping with the keys spans, with"),
        ("beam: 3", "beam: found the number 3, expected a mapping with the keys runner"),
        # sizes
        ("max_memory: 4GG", "max_memory: found text '4GG', expected a size such as 64k, 20M or 1.5GB; k, M, G, T or P"),
        (
            "max_memory: 1.5",
            "max_memory: found the number 1.5, expected a size such as 64k, 20M or 1.5GB; write it wit",
        ),
        ("max_memory: 1e9", "max_memory: found the number 1e9, expected a size such as 64k, 20M or 1.5GB; write 10000"),
        (
            "train: {max_tokens: 1B}",
            "train.max_tokens: found text '1B', expected a whole number such as 5000 or 20M; B",
        ),
        ("train: {max_tokens: 1_000}", "train.max_tokens: found text '1_000', expected a whole number such as 5000 or"),
        # bounds
        ("workers: 0", "workers: found the number 0, expected at least 1; auto: 1 for small input"),
        ("seed: -1", "seed: found the number -1, expected at least 0; of everything that is drawn"),
        ("max_failed_share: 1.5", "max_failed_share: found the number 1.5, expected at most 1; of documents"),
        ("train: {lr: 0}", "train.lr: found the number 0, expected above 0; peak learning rate"),
        ("train: {beta1: 1.0}", "train.beta1: found the number 1.0, expected below 1; of AdamW"),
        ("mix: {held_out: {share: 1}}", "mix.held_out.share: found the number 1, expected below 1; of each source's"),
        ("dedupe: {steps: []}", "dedupe.steps: is empty, expected at least one: ways to find duplicates, in order"),
        ("dedupe: {prefer: 3, steps: [{name: a, kind: exact}]}", "dedupe.prefer: found the number 3, expected a list"),
        ("modules: a.py", "modules: found text 'a.py', expected a list; write [a.py]"),
        ("max_failed_files: -1", "max_failed_files: found the number -1, expected at least 0; files that could not"),
        ("mix: {target_bytes: 1.5}", "mix.target_bytes: found the number 1.5, expected a size such as 64k, 20M or 1."),
        ("mix: {documents: 1}", "mix.documents: found the number 1, expected true or false"),
        (
            "dedupe: {steps: [{name: a, kind: minhash, bands: 0}]}",
            "dedupe.steps.0.bands: found the number 0, expected at least 1; minhash: bands",
        ),
        # unknown and missing
        ("trian: {}", "trian: no key named 'trian'. Did you mean 'train'?"),
        (
            "train: {learning_rate: 1}",
            "train.learning_rate: no key named 'learning_rate'. There are: activation_checkpointing, ",
        ),
        ("vocab_size: 3", "vocab_size: no key named 'vocab_size'. There are: "),
        ("dedupe: {}", "dedupe.steps: is missing; expected a list of mappings: ways to find duplicates, in order"),
        (
            "dedupe: {steps: [{name: a}]}",
            "dedupe.steps.0.kind: is missing; expected text: exact, minhash (near copies)",
        ),
        ("mix: {replace: [{spans: a.b}]}", "mix.replace.0.with: is missing; expected text: what stands there instead"),
        ("mix: {replace: [{spans: a.b, with_: a}]}", "mix.replace.0.with_: no key named 'with_'. Did you mean 'with'?"),
        (
            "mix: {mixer: {t: 9223372036854775808}}",
            "mix.mixer.t: found the number 9223372036854775808, expected a whole number of 64 bits, "
            "at most 9223372036854775807; quote it",
        ),
        (
            "mix: {target_tokens: 9223372036854775808}",
            "mix.target_tokens: found the number 9223372036854775808, expected at most 9223372036854775807; ",
        ),
        ("mix: {mixer: {t: .inf}}", "mix.mixer.t: found the number .inf, expected a finite number; quote it"),
    ],
)
def test_errors(line: str, message: str) -> None:
    assert error(line + "\n").startswith(f"my.yaml:{FIRST}: {message}")


def test_a_shape_keeps_its_values_whatever_their_type() -> None:
    shards = "tokenizer: {train: bpe}\nmix: {}\ntokens: {}\n"
    found = recipe(shards + "train:\n  shape: {width: 64, tied: true, norm: rms_norm, clip_qkv: ~, norm_eps: 1e-6}\n")
    assert found.train is not None
    shape = {"width": 64, "tied": True, "norm": "rms_norm", "clip_qkv": None, "norm_eps": 1e-6}
    assert found.train.shape == shape
    assert recipe_from_text(resolved_yaml(found)) == resolved(found)
    assert found.place("train.shape.width") == f"my.yaml:{FIRST + 4}: train.shape.width"


def test_a_key_that_has_moved_says_where() -> None:
    with pytest.raises(ConfigError) as caught:
        recipe_from_text(BASE, "tag.modules=[./my_taggers.py]")
    assert str(caught.value) == (
        "override 'tag.modules=[./my_taggers.py]': tag.modules: has moved: write `modules:` at the top of the recipe, "
        "where it serves taggers and mixers"
    )


def test_one_order_stands_for_a_list_of_one() -> None:
    text = "dedupe: {prefer: %s, steps: [{name: a, kind: exact}]}\n"
    for written, expected in {"chars DESC, id": ("chars DESC, id",), "[chars DESC, id]": ("chars DESC", "id")}.items():
        found = recipe(text % (written if written[0] == "[" else f'"{written}"'))
        assert found.dedupe is not None
        assert found.dedupe.prefer == expected
    found = recipe("dedupe: {steps: [{name: a, kind: exact}]}\n")
    assert found.dedupe is not None
    assert found.dedupe.prefer == ()


def test_a_key_of_another_section_is_pointed_to() -> None:
    assert error("vocab_size: 3\n").endswith("There is tokenizer.vocab_size.")


def test_places_are_those_of_the_line_that_is_wrong() -> None:
    assert error("train:\n  lr: 3e-3\n  schedule: linaer\n") == (
        f"my.yaml:{FIRST + 2}: train.schedule: found text 'linaer', expected one of linear, cosine, wsd, constant; "
        "did you mean 'linear'?"
    )
    assert error("eval:\n  tasks:\n    - a\n    - 1\n").startswith(
        f"my.yaml:{FIRST + 3}: eval.tasks.1: found the number"
    )
    assert error("mix:\n  sources:\n    web:\n      wieght: 1\n").startswith(
        f"my.yaml:{FIRST + 3}: mix.sources.web.wieght: no key named 'wieght'. Did you mean 'weight'?"
    )


def test_what_is_required() -> None:
    for text, message in {
        "sources: {web: {documents: a}}\ntag: {taggers: [a]}\n": "my.yaml:1: output: is missing; expected text: the",
        "output: a\ntag: {taggers: [a]}\n": "my.yaml:1: sources: is missing; expected a mapping of name to mapping",
        "output: a\nsources: {web: {}}\ntag: {taggers: [a]}\n": "my.yaml:2: sources.web.documents: is missing; ",
        "output: a\nsources: {}\ntag: {taggers: [a]}\n": "my.yaml:2: sources: is empty, expected at least one: what to",
        "output: a\nsources: {w: {documents: []}}\ntag: {taggers: [a]}\n": "my.yaml:2: sources.w.documents: is empty",
    }.items():
        with pytest.raises(ConfigError) as caught:
            recipe_from_text(text, name="my.yaml")
        assert str(caught.value).startswith(message)


def test_sizes_are_whole_numbers() -> None:
    found = recipe("max_memory: 1.5GiB\nsplit_bytes: 64k\nseed: 2k\n")
    assert (found.max_memory, found.split_bytes, found.seed) == (1_610_612_736, 64_000, 2000)


def test_whole_numbers_are_numbers_too() -> None:
    found = recipe("max_failed_share: 1\n")
    assert found.max_failed_share == 1.0
    assert isinstance(found.max_failed_share, float)
    assert "expected a number below 1.8e308" in error(f"max_failed_share: {'9' * 350}\n")


def test_one_instead_of_a_list() -> None:
    found = recipe_from_text(
        "output: a\nsources: {web: {documents: x, attributes: y}}\ntag: {taggers: [t]}\n", name="my.yaml"
    )
    assert found.sources["web"].documents == ("x",)
    assert found.sources["web"].attributes == ("y",)
    assert found.place("sources.web.documents") == "my.yaml:2: sources.web.documents"


def test_parameters_are_carried_as_they_are_with_lists_as_tuples() -> None:
    found = recipe_from_text(
        "output: a\nsources: {web: {documents: x}}\n"
        "tag: {taggers: [{tagger: t, regions: [US, [1, 2]], deep: {a: [x], b: ~}, size: 20M, on: no}]}\n"
    )
    assert found.tag is not None
    assert found.tag.taggers[0].parameters == {
        "regions": ("US", (1, 2)),
        "deep": {"a": ("x",), "b": None},
        "size": "20M",
        "on": "no",
    }


def test_null_is_none_where_a_default_is_none() -> None:
    found = recipe("tokenizer: {train: bpe}\nmix: {target_tokens: null, held_out: ~}\ntrain: null\n")
    assert found.mix is not None
    assert found.mix.target_tokens is None
    assert found.train is None
    assert found.stages() == ("tag", "tokenizer", "mix")
