"""A report in the terminal: the same tables, without the charts."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from promptyard_worker.report.parts import Report, Table


def print_text(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(Text(f"{report.title}: {plain(report.subject)}", "bold"))
    for warning in report.warnings:
        console.print(Text(plain(warning), "yellow"))
    for name, figure, remark in report.figures:
        console.print(Text(f"{name}: {figure}{f' ({remark})' if remark else ''}"))
    for section in report.sections:
        console.print(Text(f"\n{section.title}", "bold"))
        if section.lead:
            console.print(Text(plain(section.lead)))
        for table in section.tables:
            console.print(_table(table))
            for row, note in zip(table.rows, table.notes, strict=False):
                console.print(Text(f"{plain(row[0])}  {plain(note)}"))
    for line in report.footer:
        console.print(Text(plain(line), "dim"))


def _table(table: Table) -> RichTable:
    made = RichTable(
        title=Text(table.caption, "italic"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_header=table.has_head,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns:
        made.add_column(
            Text(plain(column.name)),
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number,
            overflow="fold",
        )
    for row in table.rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    return made


def plain(text: str) -> str:
    """What came from outside, as one line that moves no cursor."""
    return "".join(one if one.isprintable() else " " for one in text)
