"""What each stage does: phases and consumers over the types of `run`, without Beam. Importing this registers all."""

from dolma_pipeline.run.stage import register
from dolma_pipeline.stages.adapt import AdaptStage
from dolma_pipeline.stages.decontaminate.stage import DecontaminateStage
from dolma_pipeline.stages.dedupe.stage import DedupeStage
from dolma_pipeline.stages.index import IndexStage
from dolma_pipeline.stages.judged import JudgeStage
from dolma_pipeline.stages.mix.stage import MixStage, VerdictStage
from dolma_pipeline.stages.model import EvalStage, TrainStage
from dolma_pipeline.stages.tag import TagStage
from dolma_pipeline.stages.tokenizer import TokenizerStage
from dolma_pipeline.stages.tokens.stage import TokensStage

for _stage in (
    IndexStage(),
    TagStage(),
    DecontaminateStage(),
    JudgeStage(),
    DedupeStage(),
    VerdictStage(),
    TokenizerStage(),
    MixStage(),
    TokensStage(),
    TrainStage(),
    EvalStage(),
    AdaptStage("sft", "teach a model to answer, on dialogues", after=("train",)),
    AdaptStage("dpo", "teach it which of two answers is better", after=("train", "sft")),
):
    register(_stage)
