"""Where Hydra looks for plugins; what they do is in :mod:`d2m.cli.sweepers`."""

from __future__ import annotations

from d2m.cli import sweepers


class GridSweeper(sweepers.GridSweeper):
    """See :class:`d2m.cli.sweepers.GridSweeper`."""


class OptunaSweeper(sweepers.OptunaSweeper):
    """See :class:`d2m.cli.sweepers.OptunaSweeper`."""
