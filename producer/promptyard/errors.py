"""Every error Promptyard raises.

PromptyardError
 |- SettingsError        an environment variable or option is wrong
 |- RouterFileError      router.yaml cannot be used: line, key, remedy
 |- InputError           a file or line of input cannot be used
 |- StoreError           Redis is unreachable, refuses, or answers what it should not
 |   |- StoreFull        Redis has no room for new jobs; those that are in go on
 |   `- SubmitError      a submit stopped midway; says what is in
 |       `- SubmitFull   ... because Redis is full (and a StoreFull)
 |- JobNotFound          no record of that job (wrong id, or past its retention)
 |- BatchNotFound        no record of that batch
 |- BudgetSpent          a batch has spent what it may; says what to give
 |- ResultTimeout        the job had no result in the time given
 |- EmbeddingError       the encoder's service is away: the prompts wait
 |- EmbeddingRefused     the encoder's service takes one of these prompts at no time
 `- StackError           a local process (Valkey, stand-in, worker) did not start or died
"""

from __future__ import annotations


class PromptyardError(Exception):
    """Base of every error of ours; its message says what happened and what to do."""

    #: Exit code of the command line for this error (``docs/cli.md`` lists them).
    exit_code: int = 1


class SettingsError(PromptyardError):
    """An environment variable or option has a value that cannot be used."""

    exit_code = 2


class RouterFileError(PromptyardError):
    """router.yaml cannot be used; the message names line, key and remedy."""

    exit_code = 2


class InputError(PromptyardError):
    """An input file, or one line of it, cannot be used."""

    exit_code = 2


class StoreError(PromptyardError):
    """Redis cannot be reached, or refuses a command."""

    exit_code = 3


class StoreFull(StoreError):
    """Redis has reached its ``maxmemory`` and takes no new jobs; those that are in go on."""


class SubmitError(StoreError):
    """A submit stopped midway; the same jobs (same ids) with this ``batch_id`` complete it.

    A prompt that is given as a text has a new id each time: only a ``Job`` can be told again.

    Attributes:
        batch_id: the batch.
        submitted: so many jobs, the first ones, are in. Of those after them some may be too: a
            window of jobs was under way, and its answer did not come.
    """

    def __init__(self, message: str, *, batch_id: str | None, submitted: int) -> None:
        super().__init__(message)
        self.batch_id = batch_id
        self.submitted = submitted


class SubmitFull(SubmitError, StoreFull):
    """A submit stopped midway, because Redis is full."""


class JobNotFound(PromptyardError):
    """There is no record of that job: a wrong id, or its retention has passed."""

    exit_code = 4


class BatchNotFound(PromptyardError):
    """There is no record of that batch: a wrong id, or its retention has passed."""

    exit_code = 4


class ResultTimeout(PromptyardError):
    """The job had not ended within the time the caller gave."""

    exit_code = 5


class BudgetSpent(PromptyardError):
    """A batch has spent its ``max_cost_usd``, and is paused until it is given a higher one.

    Attributes:
        batch_id: the batch.
        spent_usd: what its calls have cost.
        least_usd: the least cap that leaves room for the next call.
    """

    exit_code = 7

    def __init__(self, message: str, *, batch_id: str, spent_usd: float, least_usd: float) -> None:
        super().__init__(message)
        self.batch_id = batch_id
        self.spent_usd = spent_usd
        self.least_usd = least_usd


class EmbeddingError(PromptyardError):
    """Prompts cannot be embedded now; routed again later, they may be."""


class EmbeddingRefused(PromptyardError):
    """The server takes one of these texts or images at no time."""


class StackError(PromptyardError):
    """A local process (Valkey, stand-in, worker) did not start, or died."""

    exit_code = 6
