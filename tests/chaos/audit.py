"""What the stand-in's diary says of calls that were made more than once.

A job needs one answered call, and one more for each fault that was played to it. Every other call
is a repeated one, and there must be a reason for it: its worker was killed with the call in its
hands. A call is in a worker's hands from its arrival at the stand-in until its answer is on
record, which takes no longer than ``RECORDED_S`` after the answer went out; where Redis was away
by then, no longer than until ``RESUMED_S`` after it came back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.chaos import Kill, Outage
from tests.chaos.watch import Seen

#: An answer that went out is on record after so long at most.
RECORDED_S: Final = 1.0
#: Likewise after an outage: the worker looks for Redis every two seconds.
RESUMED_S: Final = 6.0
#: Answers that are faults (``SimConfig.faults``).
FAULTS: Final = frozenset({429, 503})


@dataclass(frozen=True)
class Audit:
    """What the calls came to."""

    #: Calls in the hands of workers when they were killed.
    in_hand: int
    #: Calls beyond what the jobs and the faults needed.
    repeated: list[Seen]
    #: Those of them that no kill explains.
    unexplained: list[Seen]


class Books:
    """What is needed to audit a diary. All times are ``time.monotonic``.

    Args:
        kills: of workers.
        outages: of Redis.
        recorded_s: when each job's end was put on record.
    """

    def __init__(
        self, kills: Iterable[Kill], outages: Sequence[Outage], recorded_s: Mapping[int, float]
    ) -> None:
        self._killed_s = {kill.worker: kill.at_s for kill in kills}
        self._outages = outages
        self._recorded_s = recorded_s

    def audit(self, diary: Sequence[Seen]) -> Audit:
        """Look at every call."""
        by_job: dict[int | None, list[Seen]] = defaultdict(list)
        for call in diary:
            by_job[call.job].append(call)
        repeated = by_job.pop(None, [])  # never read: its client was killed as it wrote
        for calls in by_job.values():
            needless = [call for call in calls if not self._is_fault(call)]
            answered = [call for call in needless if call.status == 200]
            if answered:
                needless.remove(answered[-1])
            repeated += needless
        return Audit(
            in_hand=sum(map(self._was_in_hand, diary)),
            repeated=repeated,
            unexplained=[call for call in repeated if not self._was_in_hand(call)],
        )

    def _is_fault(self, call: Seen) -> bool:
        if call.status is not None:
            return call.status in FAULTS
        return call.ended_s is not None and not self._was_in_hand(call)  # the worker timed it out

    def _was_in_hand(self, call: Seen) -> bool:
        """Whether its worker was killed between its arrival and the record of its answer."""
        killed_s = self._killed_s.get(call.worker)
        if killed_s is None:
            return False
        if call.ended_s is None or call.ended_s > killed_s:
            return True
        if call.status != 200 or call.job is None:
            return False
        return self._recorded_s[call.job] > killed_s and killed_s < self._deadline_s(call.ended_s)

    def _deadline_s(self, answered_s: float) -> float:
        """When an answer is on record at the latest."""
        by_s = answered_s + RECORDED_S
        for outage in self._outages:
            if answered_s <= outage.end_s and by_s >= outage.start_s:
                by_s = outage.end_s + RESUMED_S
        return by_s
