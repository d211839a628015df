"""What the keys of a recipe must be to each other, as far as that needs no file and no tagger.

Run by the loader; call `check_recipe` on a `Recipe` that was made or changed in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dolma_pipeline.config.idle_keys import idle_key
from dolma_pipeline.config.keys import fields_of
from dolma_pipeline.config.preset_rules import with_presets
from dolma_pipeline.config.recipe import (
    STAGES,
    TARGETS,
    DecontaminateConfig,
    DedupeStepConfig,
    EvalConfig,
    MixConfig,
    Recipe,
    ReplaceConfig,
    SftConfig,
    TokenizerConfig,
    TokensConfig,
    TrainConfig,
    fail,
    without_value,
)
from dolma_pipeline.errors import ConfigError, unknown_name

DOCUMENT_COLUMNS = ("id", "text", "source", "added", "created", "metadata", "extra")
"""What a document has; `fields` may say under which other names the input has it."""

SQL_COLUMNS = (*DOCUMENT_COLUMNS, "document_source", "chars", "bytes")
"""Names that SQL finds in the documents themselves, so no attribute may carry them."""

STEP_KEYS: Mapping[str, tuple[str, ...]] = {
    "exact": ("key",),
    "minhash": ("shingle", "bands", "rows", "signature_bytes", "threshold", "verify"),
    "paragraphs": ("unit", "min_unit_chars"),
    "substring": ("words",),
    "against": ("texts", "unit", "min_unit_chars", "ngram", "filter", "false_positive_rate", "max_bytes"),
}
"""The keys of a dedupe step that not every kind has; some are of several kinds."""


def foreign_keys(kind: str) -> dict[str, str]:
    """Keys of a dedupe step that a kind does not have, each with the first kind that has it."""
    others = {name: other for other, keys in reversed([*STEP_KEYS.items()]) for name in keys}
    return {name: other for name, other in others.items() if name not in STEP_KEYS.get(kind, ())}


TRAIN_ONLY = ("vocab_size", "sample_bytes", "added_tokens")
"""Keys of a tokenizer that mean nothing for one that is loaded."""

NEEDS: tuple[tuple[str, str], ...] = (
    ("tokens", "mix"),
    ("tokens", "tokenizer"),
    ("train", "tokens"),
)
"""Stage, and the stage without which it cannot be."""

OWN_RULES = ("min_chars",)
"""Rules that are not SQL but have a place in the counts."""

BYTES = 256
"""A byte-level vocabulary holds these before it holds anything else."""

_LABEL = re.compile(r"[a-z][a-z0-9_]*")
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RULE = re.compile(rf"{_SOURCE.pattern}(\.{_SOURCE.pattern})?")
_FIELD = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


def check_recipe(recipe: Recipe) -> None:
    """Raises ConfigError at the first thing that cannot be right; says key, place and what to do."""
    for name, mix in recipe.mixes().items():
        _check_rules(recipe, f"{name}.where", mix.where)
    recipe = with_presets(recipe)
    _check_stages(recipe)
    _check_storage(recipe)
    _check_sources(recipe)
    _check_labels(recipe)
    _check_decontaminate(recipe)
    _check_dedupe(recipe)
    _check_tokenizer(recipe)
    for name, mix in recipe.mixes().items():
        _check_mix(recipe, name, mix)
    for name, tokens in recipe.token_sections().items():
        _check_tokens(recipe, name, tokens)
    _check_train_and_eval(recipe)


def _check_stages(recipe: Recipe) -> None:
    if not recipe.stages():
        raise fail(recipe, "output", f"there is nothing to do; add at least one of {', '.join(STAGES)}")
    for stage, needed in NEEDS:
        if getattr(recipe, stage) is not None and getattr(recipe, needed) is None:
            raise fail(recipe, stage, _without(stage, needed))


def _check_storage(recipe: Recipe) -> None:
    endpoint = recipe.storage.endpoint if recipe.storage else None
    if endpoint is not None and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", endpoint):
        message = "expected http(s)://host:port, without user, password or '?'; credentials are the environment's"
        # Not what was found: it may be a secret.
        raise ConfigError(f"{without_value(recipe.place('storage.endpoint'))}: {message}")


def _without(stage: str, needed: str) -> str:
    return f"needs `{needed}`, which the recipe does not have; add it, or leave out `{stage}`"


def _check_sources(recipe: Recipe) -> None:
    if not recipe.sources and not {*recipe.stages()} <= {"sft", "dpo", "eval"}:
        file = recipe.origin.get("output", "").rpartition(":")[0]
        if file and "sources" not in recipe.origin:
            raise ConfigError(f"{file}:1: sources: is missing; expected a mapping of name to mapping")
        raise fail(recipe, "sources", "is empty; name at least one source of documents")
    lower: dict[str, str] = {}
    for name, source in recipe.sources.items():
        key = f"sources.{name}"
        if not _SOURCE.fullmatch(name):
            raise fail(recipe, key, "a source's name is a folder's name too: letters, digits, - and _ only")
        if name.lower() in lower:
            raise fail(
                recipe, key, f"differs from '{lower[name.lower()]}' in capitals only, which not all disks tell apart"
            )
        lower[name.lower()] = name
        if "" in source.documents:
            raise fail(recipe, f"{key}.documents", "found an empty path; name a file, a glob, a URL or @files.txt")
        for column in source.fields:
            if column not in DOCUMENT_COLUMNS:
                raise fail(recipe, f"{key}.fields.{column}", unknown_name("column", column, DOCUMENT_COLUMNS))
    _check_unique(recipe, "normalize", recipe.normalize)
    _check_unique(recipe, "modules", recipe.modules)
    if "" in recipe.modules:
        raise fail(recipe, "modules", "found an empty name; name an importable module or a ./file.py")


def _check_labels(recipe: Recipe) -> None:
    seen: dict[str, str] = {"decontaminate": "the stage `decontaminate`"} if recipe.decontaminate else {}
    uses = [(t.name, f"tag.taggers.{i}") for i, t in enumerate(recipe.tag.taggers if recipe.tag else ())]
    uses += [(s.name, f"dedupe.steps.{i}") for i, s in enumerate(recipe.dedupe.steps if recipe.dedupe else ())]
    for name, key in uses:
        if not _LABEL.fullmatch(name):
            raise fail(recipe, key, f"found the name '{name}', expected small letters, digits and _, a letter first")
        if name in SQL_COLUMNS:
            raise fail(recipe, key, f"'{name}' is a column of every document; give it another `name`")
        if name in seen:
            raise fail(recipe, key, f"the name '{name}' is taken by {seen[name]}; give one of the two another `name`")
        seen[name] = key


def _check_decontaminate(recipe: Recipe) -> None:
    config = recipe.decontaminate
    if config is None:
        return
    for name, files in config.benchmarks.items():
        key = f"decontaminate.benchmarks.{name}"
        if not _SOURCE.fullmatch(name):
            raise fail(recipe, key, "a benchmark's name has letters, digits, - and _ only")
        if not files or "" in files:
            raise fail(recipe, key, "has no files; name a file, a glob, a URL or @files.txt")
        _check_unique(recipe, key, files)
    if config.weak_words > config.ngram:
        message = (
            f"found {config.weak_words}, expected at most `ngram`, {config.ngram}: longer items are found by n-grams"
        )
        raise fail(recipe, "decontaminate.weak_words", message)
    given = {
        field.name
        for field in fields_of(DecontaminateConfig)
        if f"decontaminate.{field.name}" in recipe.origin or getattr(config, field.name) != field.default
    }
    if "min_run" in given and config.min_run < config.ngram:
        message = f"found {config.min_run}, expected at least `ngram`, {config.ngram}: whatever is found has such a run"
        raise fail(recipe, "decontaminate.min_run", message)
    if "min_coverage" in given and config.min_run <= config.ngram:
        message = (
            f"has no effect: with n-grams of {config.ngram} words and min_run {config.min_run} each of them marks a "
            "document. Leave it out, or give a smaller `ngram` (8) or a larger `min_run`"
        )
        raise fail(recipe, "decontaminate.min_coverage", message)


def _check_dedupe(recipe: Recipe) -> None:
    if recipe.dedupe is None:
        return
    for i, order in enumerate(recipe.dedupe.prefer):
        if not order.strip():
            raise fail(recipe, f"dedupe.prefer.{i}", "found nothing, expected an SQL order such as `chars DESC`")
    _check_unique(recipe, "dedupe.prefer", recipe.dedupe.prefer)
    defaults = {field.name: field.default for field in fields_of(DedupeStepConfig)}
    for i, step in enumerate(recipe.dedupe.steps):
        for name, kind in foreign_keys(step.kind).items():
            key = f"dedupe.steps.{i}.{name}"
            if key in recipe.origin or getattr(step, name) != defaults[name]:
                raise fail(recipe, key, f"is of kind {kind}, and this step is of kind {step.kind}; leave it out")
        if step.kind in STEP_KEYS and step.parameters:
            name, known = next(iter(step.parameters)), ("name", "kind", *STEP_KEYS[step.kind])
            raise fail(recipe, f"dedupe.steps.{i}.{name}", unknown_name("key", name, known))
        for name in ("bands", "rows") if step.signature_bytes is not None else ():
            if f"dedupe.steps.{i}.{name}" in recipe.origin:
                message = "follows from `signature_bytes`; leave out one of the two"
                raise fail(recipe, f"dedupe.steps.{i}.{name}", message)


def _check_tokenizer(recipe: Recipe) -> None:
    tokenizer = recipe.tokenizer
    if tokenizer is None:
        return
    if (tokenizer.train is None) == (tokenizer.load is None):
        got = "neither" if tokenizer.train is None else "both"
        raise fail(recipe, "tokenizer", f"found {got}, expected one of `train: bpe` and `load: PATH`")
    _check_unique(recipe, "tokenizer.special_tokens", tokenizer.special_tokens)
    _check_unique(recipe, "tokenizer.added_tokens", tokenizer.added_tokens)
    for i, token in enumerate(tokenizer.added_tokens):
        if token in tokenizer.special_tokens:
            raise fail(recipe, f"tokenizer.added_tokens.{i}", f"'{token}' is a special token too; keep it in one list")
    for name in ("special_tokens", "added_tokens"):
        if "" in getattr(tokenizer, name):
            raise fail(recipe, f"tokenizer.{name}", "found an empty token; take it out")
    if tokenizer.load is not None:
        defaults = {field.name: field.default for field in fields_of(TokenizerConfig)}
        for name in TRAIN_ONLY:
            key = f"tokenizer.{name}"
            if key in recipe.origin or getattr(tokenizer, name) != defaults[name]:
                raise fail(recipe, key, "is for training; a loaded tokenizer has its own, leave it out")
        return
    least = BYTES + len(tokenizer.special_tokens) + len(tokenizer.added_tokens)
    if tokenizer.vocab_size < least:
        raise fail(
            recipe,
            "tokenizer.vocab_size",
            f"found {tokenizer.vocab_size}, expected at least {least}: {BYTES} bytes, special and added tokens",
        )


def _check_scores(recipe: Recipe, key: str, replace: ReplaceConfig) -> None:
    low, high = replace.min_score, replace.max_score
    if low is not None and high is not None and low >= high:
        message = f"found {high:g}, and no score of at least {low:g} (min_score) is below it, so nothing is replaced"
        raise fail(recipe, f"{key}.max_score", message)


def _check_key(recipe: Recipe, key: str, replace: ReplaceConfig) -> None:
    if replace.with_ == "hash" and replace.key is None:
        message = (
            "pseudonyms need a key: add `key: env:NAME` or `key: file:PATH`. For the word itself write `with: 'hash '`"
        )
        raise fail(recipe, f"{key}.with", message)
    if replace.key is None:
        return
    if replace.with_ != "hash":
        raise fail(recipe, f"{key}.key", "is the key of `with: hash`, and has no effect here; leave it out")
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", replace.key):
        message = "expected env:NAME (of an environment variable) or file:PATH; the key itself never stands in a recipe"
        raise fail(recipe, f"{key}.key", message)


def _check_shadowed(recipe: Recipe, before: Mapping[str, ReplaceConfig], after: Mapping[str, ReplaceConfig]) -> None:
    """A replacement has an effect: none before it takes all the same spans, whatever their scores.

    Args:
        before, after: dotted key -> replacement, in the order in which they take spans. Those of `after` are checked,
            each against `before` and those of `after` that stand before it.
    """
    whole = {one.spans: key for key, one in before.items() if one.min_score is None and one.max_score is None}
    for key, one in after.items():
        if one.spans in whole:
            message = (
                f"has no effect: {whole[one.spans]} replaces all of {one.spans} before it. Keep one of the two; that "
                "of a preset is left out by `skip_rules`."
            )
            raise fail(recipe, key, message)
        if one.min_score is None and one.max_score is None:
            whole[one.spans] = key


def _check_mix(recipe: Recipe, section: str, mix: MixConfig) -> None:
    _check_budget(recipe, section, mix)
    for i, replace in enumerate(mix.replace):
        _check_field(recipe, f"{section}.replace.{i}.spans", replace.spans)
        _check_scores(recipe, f"{section}.replace.{i}", replace)
        _check_key(recipe, f"{section}.replace.{i}", replace)
    in_all = {f"{section}.replace.{i}": replace for i, replace in enumerate(mix.replace)}
    _check_shadowed(recipe, {}, in_all)
    for name, source in mix.sources.items():
        key = f"{section}.sources.{name}"
        if name not in recipe.sources:
            raise fail(recipe, key, unknown_name("source", name, recipe.sources))
        _check_rules(recipe, f"{key}.where", source.where)
        for rule in source.where:
            if rule in mix.where and rule not in source.skip_rules:
                message = f"`{section}.where` has a rule '{rule}' too; rename this one, or put '{rule}' into skip_rules"
                raise fail(recipe, f"{key}.where.{rule}", message)
        for i, field in enumerate(source.remove):
            _check_field(recipe, f"{key}.remove.{i}", field)
        for i, replace in enumerate(source.replace):
            _check_field(recipe, f"{key}.replace.{i}.spans", replace.spans)
            _check_scores(recipe, f"{key}.replace.{i}", replace)
            _check_key(recipe, f"{key}.replace.{i}", replace)
        _check_shadowed(recipe, in_all, {f"{key}.replace.{i}": one for i, one in enumerate(source.replace)})
    if len(mix.sources) == len(recipe.sources) and all(source.weight == 0 for source in mix.sources.values()):
        key = f"{section}.sources"
        raise fail(recipe, key, "every weight is 0, so nothing would be drawn; give one source a weight")
    _check_unique(recipe, f"{section}.keep_metadata", mix.keep_metadata)


def _check_budget(recipe: Recipe, section: str, mix: MixConfig) -> None:
    targets = [name for name in TARGETS if getattr(mix, name) is not None]
    if len(targets) > 1:
        raise fail(recipe, f"{section}.{targets[-1]}", f"found {' and '.join(targets)}; a mix has one budget: keep one")
    weighted = [name for name, source in mix.sources.items() if source.weight is not None]
    if weighted and not targets:
        keys = ", ".join(f"{section}.{target}" for target in TARGETS)
        raise fail(recipe, f"{section}.sources.{weighted[0]}.weight", f"needs a budget: set one of {keys}")
    if recipe.tokenizer is None:
        in_tokens = {
            f"{section}.target_tokens": mix.target_tokens,
            f"{section}.held_out.max_tokens": mix.held_out and mix.held_out.max_tokens,
        }
        for key, value in in_tokens.items():
            if value is not None:
                other = f"{key.removesuffix('tokens')}bytes"
                raise fail(recipe, key, f"counts tokens, which needs `tokenizer`; add it, or use `{other}`")


def _check_rules(recipe: Recipe, key: str, rules: Mapping[str, str]) -> None:
    for name, sql in rules.items():
        if not _RULE.fullmatch(name):
            message = "a rule's name has letters, digits, - and _ only, and one dot where it is of a preset"
            raise fail(recipe, f"{key}.{name}", message)
        if name in OWN_RULES:
            raise fail(recipe, f"{key}.{name}", f"'{name}' is the name of a rule that the mix has itself; take another")
        if not sql.strip():
            raise fail(recipe, f"{key}.{name}", "found nothing, expected SQL that is true for what stays")


def _check_tokens(recipe: Recipe, section: str, tokens: TokensConfig) -> None:
    tokenizer = recipe.tokenizer
    if tokenizer is None:
        raise fail(recipe, section, _without(section, "tokenizer"))
    if tokenizer.train is not None and tokens.eos not in tokenizer.special_tokens:
        have = ", ".join(tokenizer.special_tokens) or "empty"
        message = f"'{tokens.eos}' is not a special token; `tokenizer.special_tokens` is {have}: add it there"
        raise fail(recipe, f"{section}.eos", message)
    for i, field in enumerate(tokens.keep_attributes):
        _check_field(recipe, f"{section}.keep_attributes.{i}", field)
    _check_unique(recipe, f"{section}.keep_attributes", tokens.keep_attributes)


def _check_train_and_eval(recipe: Recipe) -> None:
    train = recipe.train
    if train is not None and train.batch_tokens % train.sequence_length:
        near = max(1, round(train.batch_tokens / train.sequence_length)) * train.sequence_length
        raise fail(
            recipe,
            "train.batch_tokens",
            f"{train.batch_tokens} is not a multiple of train.sequence_length {train.sequence_length}; {near} would be",
        )
    if train is not None:
        _check_shares(recipe, train)
    if train is not None and (idle := idle_key(train)):
        raise fail(recipe, f"train.{idle[0]}", idle[1])
    if train is not None:
        _check_saving(recipe, "train", train)
        _check_training_stages(recipe, train)
    if recipe.sft is not None:
        _check_adaptation(recipe, "sft", recipe.sft, twice=False)
    if recipe.dpo is not None:
        _check_adaptation(recipe, "dpo", recipe.dpo, twice=True)
    if recipe.eval is not None:
        _check_eval(recipe, recipe.eval)


def _check_saving(recipe: Recipe, section: str, config: TrainConfig) -> None:
    if config.checkpoints is not None and f"{section}.save_every_steps" in recipe.origin:
        message = f"has no effect beside {section}.checkpoints; leave out one of the two"
        raise fail(recipe, f"{section}.save_every_steps", message)
    if config.eval_every_steps is None:
        return
    if recipe.eval is None:
        raise fail(recipe, f"{section}.eval_every_steps", "there is no `eval:` that says what to score on; add it")
    if section not in recipe.eval.stages:
        message = f"eval.stages leaves `{section}` out; add it there, or leave this out"
        raise fail(recipe, f"{section}.eval_every_steps", message)


def _check_adaptation(recipe: Recipe, section: str, config: SftConfig, *, twice: bool) -> None:
    _check_saving(recipe, section, config)
    _check_unique(recipe, f"{section}.data", config.data)
    if idle := idle_key(config):
        raise fail(recipe, f"{section}.{idle[0]}", idle[1])
    if not config.data:
        raise fail(recipe, f"{section}.data", "names no file")
    whole = config.sequence_length * (2 if twice else 1)
    if config.batch_tokens % whole:
        near = max(1, round(config.batch_tokens / whole)) * whole
        what = f"twice {section}.sequence_length (a pair is two)" if twice else f"{section}.sequence_length"
        message = f"{config.batch_tokens} is not a multiple of {what}; {near} would be"
        raise fail(recipe, f"{section}.batch_tokens", message)
    for role in ("system", "user", "assistant"):
        text = getattr(config.template, role)
        if text.count("{content}") != 1:
            raise fail(recipe, f"{section}.template.{role}", f"found {text!r}; it must have {{content}} in it, once")
    if config.init_from is None and recipe.train is None and (section == "sft" or recipe.sft is None):
        named = "`train`" if section == "sft" else "`sft` or `train`"
        raise fail(recipe, section, f"has nothing to start from; add {named}, or write {section}.init_from")


def _check_training_stages(recipe: Recipe, train: TrainConfig) -> None:
    _check_unique(recipe, "train.stages", (stage.name for stage in train.stages))
    for i, stage in enumerate(train.stages):
        key, sections = f"train.stages.{i}", recipe.token_sections()
        if stage.tokens not in sections:
            hint = "A stage reads the parts of such a section; register_mix makes more of them."
            raise fail(recipe, f"{key}.tokens", unknown_name("section of tokens", stage.tokens, sections, hint=hint))
        eos, first = sections[stage.tokens].eos, sections[train.stages[0].tokens].eos
        if eos != first:
            raise fail(recipe, f"{stage.tokens}.eos", f"found '{eos}'; the first stage's documents end with '{first}'")
        own = TrainConfig(
            schedule=stage.schedule or train.schedule,
            final_lr_share=stage.final_lr_share,
            decay_share=stage.decay_share,
        )
        if idle := idle_key(own):
            raise fail(recipe, f"{key}.{idle[0]}", idle[1])
        if stage.max_tokens < train.batch_tokens:
            raise fail(recipe, f"{key}.max_tokens", f"{stage.max_tokens} is less than train.batch_tokens, one step")
        if stage.horizon_tokens is not None and stage.horizon_tokens < stage.max_tokens:
            message = f"{stage.horizon_tokens} is less than its max_tokens: its schedule would end before it does"
            raise fail(recipe, f"{key}.horizon_tokens", message)
    total = sum(stage.max_tokens for stage in train.stages)
    if train.stages and "train.max_tokens" in recipe.origin and train.max_tokens != total:
        message = f"the stages have {total} together; leave it out, or write that"
        raise fail(recipe, "train.max_tokens", message)


def _check_shares(recipe: Recipe, train: TrainConfig) -> None:
    """A batch is shared out evenly, as far as the recipe says; where training starts it is looked at again."""
    _check_unique(recipe, "train.weight_decay_on", train.weight_decay_on)
    sequences, processes = train.batch_tokens // train.sequence_length, train.processes
    if processes != "auto" and sequences % processes:
        message = (
            f"{processes} processes cannot share the {sequences} sequences of a batch evenly; give a divisor, or auto"
        )
        raise fail(recipe, "train.processes", message)
    at_once, share = train.micro_batch_tokens, sequences if processes == "auto" else sequences // processes
    if at_once != "auto" and (at_once % train.sequence_length or share % (at_once // train.sequence_length)):
        message = (
            f"{at_once} does not cut the {share} sequences of {train.sequence_length} tokens evenly that a process "
            f"computes; give {train.sequence_length} x a divisor of {share}, or auto"
        )
        raise fail(recipe, "train.micro_batch_tokens", message)


def _check_eval(recipe: Recipe, config: EvalConfig) -> None:
    _check_unique(recipe, "eval.stages", config.stages)
    if not config.stages:
        raise fail(recipe, "eval.stages", "names no stage; write [train], or leave out `eval`")
    for i, stage in enumerate(config.stages):
        if getattr(recipe, stage) is not None:
            continue
        if "eval.stages" not in recipe.origin:
            others = [name for name in ("sft", "dpo") if getattr(recipe, name) is not None]
            hint = f"; or write eval.stages: [{', '.join(others)}]" if others else ""
            raise fail(recipe, "eval", _without("eval", "train") + hint)
        raise fail(recipe, f"eval.stages.{i}", f"the recipe has no `{stage}`; add it, or take it out here")
    if config.held_out and recipe.tokens is None:
        raise fail(recipe, "eval.held_out", "is true, but there are no `tokens` to hold out; write false here")
    if config.held_out and recipe.mix is not None and recipe.mix.held_out is None:
        raise fail(recipe, "eval.held_out", "is true, but nothing is held out; add `mix.held_out`, or write false here")
    if not config.held_out and not config.tasks and not config.documents:
        raise fail(recipe, "eval", "has nothing to score: held_out is false and there are no tasks and no documents")
    _check_unique(recipe, "eval.tasks", config.tasks)
    for domain, files in config.documents.items():
        if not _SOURCE.fullmatch(domain):
            raise fail(recipe, f"eval.documents.{domain}", "a domain's name has letters, digits, - and _ only")
        if not files:
            raise fail(recipe, f"eval.documents.{domain}", "has no files; name one, or leave the domain out")
        _check_unique(recipe, f"eval.documents.{domain}", files)


def _check_field(recipe: Recipe, key: str, field: str) -> None:
    """`ATTRIBUTE.FIELD`; whether it exists is asked later, when taggers are known: a misspelt tagger is named first."""
    if not _FIELD.fullmatch(field):
        raise fail(recipe, key, f"found '{field}', expected ATTRIBUTE.FIELD such as pii_v1.email")


def _check_unique(recipe: Recipe, key: str, items: Iterable[str]) -> None:
    seen: set[str] = set()
    for i, item in enumerate(items):
        if item in seen:
            raise fail(recipe, f"{key}.{i}", f"'{item}' is there twice")
        seen.add(item)
