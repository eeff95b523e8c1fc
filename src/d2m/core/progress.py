"""Progress bars of all commands, on standard error; none if that is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Update(Protocol):
    """Reports progress to a bar."""

    def __call__(self, advance: int = 1, *, done: int | None = None, description: str | None = None) -> None:
        """Advance by ``advance`` items, or to ``done`` in total; ``description`` replaces the text on the left."""


@contextmanager
def bar(total: int, description: str, unit: str = "", done: int = 0) -> Iterator[Update]:
    """A bar with the number of items done, the elapsed and the remaining time.

    Args:
        total: total number of items.
        description: text on the left.
        unit: name of the items; if given, the bar shows how many are done per second.
        done: items already done, in a resumed run.

    Yields:
        The function to call after every item.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total, completed=done, rate="")

        def update(advance: int = 1, *, done: int | None = None, description: str | None = None) -> None:
            speed = progress.tasks[0].speed if unit else None
            progress.update(
                task, advance=advance if done is None else None, completed=done, description=description,
                rate=f"{speed:.1f} {unit}/s" if speed else "",
            )  # fmt: skip

        yield update
