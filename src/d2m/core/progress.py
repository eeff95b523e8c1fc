"""Progress bars: one look for all commands, on standard error, and none if that is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Update(Protocol):
    """Tells a bar how far the work is."""

    def __call__(self, advance: int = 1, *, done: int | None = None, description: str | None = None) -> None:
        """Move on by ``advance`` items, or to ``done`` items in all; ``description`` replaces the text on the left."""


@contextmanager
def bar(total: int, description: str, unit: str = "", done: int = 0) -> Iterator[Update]:
    """A bar with the items done, the time taken and the time to go.

    Args:
        total: items in all.
        description: what is being done, at the left.
        unit: what the items are; the bar then says how many a second.
        done: items done before, in a resumed run.

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
