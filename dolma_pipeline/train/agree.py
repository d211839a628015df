"""What processes must agree on: one finds it and tells the others, or all say what they found and hear the first error.

An error of ours that one process meets is raised by all of them, so none waits for a word that never comes. All
processes of the group call these together. Cost: a broadcast of a small object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from dolma_pipeline.errors import DataError, DolmaError

Found = TypeVar("Found")


def agreed(find: Callable[[], Found]) -> Found:
    """What the first process finds, or the error that it raises, the same everywhere."""
    told: list[Any] = [_outcome(find) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(told)
    return _value(told[0])  # type: ignore[no-any-return]


def all_of(find: Callable[[], Found]) -> list[Found]:
    """What each process finds, by rank; raises the error of the first of them that had one."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, _outcome(find))
    return [_value(one) for one in told]


def same_everywhere(what: str, value: object) -> None:
    """Raises DataError where processes have different values; it names two of them. what: as the message calls it."""
    found = all_of(lambda: value)
    for rank, one in enumerate(found):
        if one != found[0]:
            raise DataError(
                f"{what}: process 0 finds {found[0]}, process {rank} finds {one}. All must read the same folder."
            )


def any_asks(asks: bool) -> bool:
    """Whether any process says yes."""
    answer = torch.tensor(int(asks))
    dist.all_reduce(answer, op=dist.ReduceOp.MAX)
    return bool(answer)


def _outcome(find: Callable[[], Any]) -> tuple[Any, DolmaError | None]:
    try:
        return find(), None
    except DolmaError as error:
        return None, error


def _value(outcome: tuple[Any, DolmaError | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value
