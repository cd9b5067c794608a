"""``promptyard report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from promptyard.cli.options import RedisUrl, stderr_console, stdout_console
from promptyard.cli.words import count
from promptyard.errors import InputError
from promptyard_worker.eval_command import RouterFile

if TYPE_CHECKING:
    from promptyard_worker.report.parts import Report
    from promptyard_worker.report.source import Wanted

#: The results that `run` and `demo` write, and the page beside them.
RESULTS: Final = "results.jsonl"
PAGE: Final = Path("report.html")

What = Annotated[
    str,
    typer.Argument(metavar="[BATCH/FILE]", help="Batch id or result file, - for stdin."),
]
PageFile = Annotated[
    Path | None, typer.Option("--output", "-o", help="Page to write; report.html if not given.")
]
AsText = Annotated[
    bool, typer.Option("--text", help="Print the tables; a page is written only by -o.")
]
WithPrompts = Annotated[
    bool, typer.Option("--prompts", help="Show the prompts of the least sure decisions.")
]
InputFile = Annotated[
    str | None,
    typer.Option("--input", metavar="FILE", help="Where prompts are, if Redis has them no more."),
]


def report(
    what: What = RESULTS,
    output: PageFile = None,
    text: AsText = False,
    prompts: WithPrompts = False,
    input_file: InputFile = None,
    router: RouterFile = None,
    redis_url: RedisUrl = None,
) -> None:
    """Write a page on a batch: routes, cost, latency, throughput, errors, the least sure.

    It needs no network and no other file; it holds neither answers nor, unless asked, prompts.
    """
    from promptyard_worker.report.source import Wanted

    wanted = Wanted(what, router, redis_url)
    made = make_report(wanted, prompts=prompts or input_file is not None, input_file=input_file)
    if text:
        from promptyard_worker.report.text import print_text

        print_text(made, stdout_console())
    if output is not None or not text:
        write_page(made, output or PAGE)


def leave_report(results: Path, *, input_file: str) -> None:
    """Write the page of a run that has just ended beside its results, with the prompts of a file.

    Raises:
        InputError: it cannot be written.
    """
    from promptyard_worker.report.source import Wanted

    made = make_report(Wanted(str(results), None, None), prompts=True, input_file=input_file)
    write_page(made, results.with_name(PAGE.name))


def make_report(wanted: Wanted, *, prompts: bool, input_file: str | None) -> Report:
    """Read the results and put the report together.

    Args:
        wanted: what it is of.
        prompts: whether it shows the prompts of the least sure decisions.
        input_file: has the prompts; None: the store has them.

    Raises:
        InputError: there is nothing to report on.
    """
    from promptyard_worker.report.gathering import Gathering
    from promptyard_worker.report.sections import compose
    from promptyard_worker.report.source import find_prompts, open_results

    with open_results(wanted) as source:
        gathered = Gathering(source.catalog)
        for result in source.results:
            gathered.add(result)
        if not gathered.jobs:
            raise InputError(_nothing(wanted, source.unreadable))
        shown = None
        if prompts:
            unsure = gathered.margins.least_sure()
            shown = find_prompts(unsure, wanted, input_file=input_file)
        return compose(gathered, source, shown)


def write_page(made: Report, output: Path) -> None:
    """Write the page, and say so.

    Raises:
        InputError: the path cannot be written to.
    """
    from promptyard_worker.report.page import has_charts, render

    page = render(made).encode(errors="replace")
    try:
        output.write_bytes(page)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({error.strerror}): give another --output."
        ) from None
    hint = "" if has_charts() else "; for its charts: pip install 'promptyard[report]'"
    stderr_console().print(
        f"report: {output} ({len(page) / 1000:,.0f} kB){hint}", markup=False, soft_wrap=True
    )


def _nothing(wanted: Wanted, unreadable: int) -> str:
    if unreadable:
        return (
            f"{wanted.what} has {count(unreadable, 'line')}, none of them a result: give the file "
            "that `promptyard run` or `promptyard results` wrote."
        )
    return f"{wanted.what} has no results yet: `promptyard status` tells how far a batch is."
