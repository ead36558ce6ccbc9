"""A check that what threads saw of one key could have happened one operation after the other.

An operation takes effect at one moment between its call and its return. `check` looks for such moments: it goes through
calls and returns in their order, and keeps every state that the key may be in together with the pending operations that
have taken effect already (Lowe, *Testing for linearizability*, 2017: just-in-time linearization).
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

import attrs

State = Hashable
Step = Callable[[Any, "Operation"], tuple[bool, State]]
"""From a state and an operation to: whether its result fits, and the state afterwards."""


@attrs.frozen(eq=False)
class Operation:
    """One call on one key: when it began and returned, in ticks of one clock; its argument and its result."""

    key: Hashable
    kind: str
    argument: Any
    result: Any
    began: int
    returned: int


class NotLinearizable(AssertionError):
    """No order of the operations explains their results."""


class Recorder:
    """Threads' operations, with the moments of their calls and returns."""

    def __init__(self) -> None:
        self._clock = itertools.count()
        self._lists: list[list[Operation]] = []
        self._own = threading.local()

    def run(self, key: Hashable, kind: str, argument: Any, call: Callable[[], Any]) -> Any:
        """Call, and note what came of it. An exception is not noted: the caller's test is wrong then."""
        began = next(self._clock)
        result = call()
        returned = next(self._clock)
        operations: list[Operation] | None = getattr(self._own, "operations", None)
        if operations is None:
            operations = self._own.operations = []
            self._lists.append(operations)
        operations.append(Operation(key, kind, argument, result, began, returned))
        return result

    def histories(self) -> dict[Hashable, list[Operation]]:
        """Return each key's operations."""
        keys: dict[Hashable, list[Operation]] = defaultdict(list)
        for operation in itertools.chain.from_iterable(self._lists):
            keys[operation.key].append(operation)
        return keys


def check(operations: list[Operation], start: State, step: Step) -> None:
    """Raise NotLinearizable unless *operations* on one key can be put in an order that *step* agrees with."""
    events = sorted(
        [(operation.began, False, operation) for operation in operations]
        + [(operation.returned, True, operation) for operation in operations],
        key=lambda event: event[:2],
    )
    pending: set[Operation] = set()
    possible: set[tuple[State, frozenset[Operation]]] = {(start, frozenset())}
    for number, (_, is_return, operation) in enumerate(events):
        if not is_return:
            pending.add(operation)
            continue
        possible = {
            (state, done - {operation}) for state, done in _closed(possible, pending, step) if operation in done
        }
        pending.discard(operation)
        if not possible:
            around = sorted((event[2] for event in events[max(0, number - 12) : number + 1]), key=lambda o: o.began)
            raise NotLinearizable("no order explains the last of these:\n" + "\n".join(map(str, dict.fromkeys(around))))


def _closed(
    possible: set[tuple[State, frozenset[Operation]]], pending: set[Operation], step: Step
) -> set[tuple[State, frozenset[Operation]]]:
    """Return *possible* and all that follows when some of *pending* take effect."""
    reached = set(possible)
    waiting = list(possible)
    while waiting:
        state, done = waiting.pop()
        for operation in pending - done:
            fits, after = step(state, operation)
            following = (after, done | {operation})
            if fits and following not in reached:
                reached.add(following)
                waiting.append(following)
    return reached
