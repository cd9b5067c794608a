"""Every error Promptyard raises.

PromptyardError
 |- SettingsError        an environment variable or option is wrong
 |- RouterFileError      router.yaml cannot be used: line, key, remedy
 |- InputError           a file or line of input cannot be used
 |- StoreError           Redis is unreachable, refuses, or answers what it should not
 |   `- SubmitError      a submit stopped midway; says what is in
 |- JobNotFound          no record of that job (wrong id, or past its retention)
 |- BatchNotFound        no record of that batch
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
    """Redis cannot be reached, refuses a command, or runs out of memory."""

    exit_code = 3


class SubmitError(StoreError):
    """A submit stopped midway.

    Attributes:
        batch_id: the batch; submitting the same jobs (same ids) again completes it.
        submitted: how many jobs are certainly in.
    """

    def __init__(self, message: str, *, batch_id: str | None, submitted: int) -> None:
        super().__init__(message)
        self.batch_id = batch_id
        self.submitted = submitted


class JobNotFound(PromptyardError):
    """There is no record of that job: a wrong id, or its retention has passed."""

    exit_code = 4


class BatchNotFound(PromptyardError):
    """There is no record of that batch: a wrong id, or its retention has passed."""

    exit_code = 4


class ResultTimeout(PromptyardError):
    """The job had not ended within the time the caller gave."""

    exit_code = 5


class EmbeddingError(PromptyardError):
    """Prompts cannot be embedded now; routed again later, they may be."""


class EmbeddingRefused(PromptyardError):
    """The server takes one of these texts or images at no time."""


class StackError(PromptyardError):
    """A local process (Valkey, stand-in, worker) did not start, or died."""

    exit_code = 6
