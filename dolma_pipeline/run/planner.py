"""From what is left to make to phases in order: consumers whose needs are met are fused into one reading."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dolma_pipeline.errors import RunError
from dolma_pipeline.run.consumer import Consumer
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.reading import Reading

Step = Phase | Consumer


def plan(steps: Sequence[Step], made: Collection[str]) -> list[Phase]:
    """Phases in the order in which they run.

    As long as some phase can run it does, so that as many consumers as possible are ready when text is read; then all
    consumers whose needs are met read together, in the order given. A consumer may need what another consumer of the
    same reading makes, if it wants it as a column.

    Args:
        steps: what is left, in the order of the stages; of several with one name the first counts.
        made: names of artifacts that are finished.

    Raises:
        RunError: something needs what nothing makes.
    """
    left = list({step.name: step for step in reversed(steps)}.values())[::-1]
    there, phases = set(made), list[Phase]()
    while left:
        ready = next((step for step in left if isinstance(step, Phase) and step.needs <= there), None)
        if ready is not None:
            phases.append(ready)
            there |= ready.makes
            left.remove(ready)
            continue
        readers = _readers(left, there)
        if not readers:
            step = left[0]
            raise RunError(
                f"{step.name} needs {', '.join(sorted(step.needs - there))}, which nothing in this run makes."
            )
        phases.append(Reading.of(readers))
        for reader in readers:
            there |= reader.makes
            left.remove(reader)
    return phases


def _readers(left: Sequence[Step], there: Collection[str]) -> list[Consumer]:
    """The consumers that can read together now."""
    waiting = [step for step in left if isinstance(step, Consumer)]
    found: list[Consumer] = []
    grew = True
    while grew:
        grew = False
        for one in waiting:
            handed_on = {name for maker in found if maker.hands_on in one.columns for name in maker.makes}
            if one not in found and one.needs <= {*there, *handed_on}:
                found.append(one)
                grew = True
    return found
