"""``d2m import-original``: a bundle from the reference's checkpoints; its arguments are conf/import_original.yaml."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from d2m.cli.job import job
from d2m.core.errors import D2MError


@job("import-original")
def main(cfg: DictConfig) -> None:
    """Import the checkpoints named in the config.

    Raises:
        D2MError: anything the user can fix; nothing was written.
    """
    from d2m.original.convert import import_original

    if cfg.unit_decoder not in ("stage1", "stage2"):
        raise D2MError(f"unit_decoder={cfg.unit_decoder}: choose stage1 or stage2")
    genres = cfg.genres.split(",") if isinstance(cfg.genres, str) else cfg.genres
    imported = import_original(
        cfg.stage1, cfg.stage2, cfg.style, cfg.out,
        stats=cfg.stats, unit_decoder=cfg.unit_decoder, genres=None if genres is None else list(genres),
    )  # fmt: skip
    for warning in imported.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    # Sizes that the corpus determines are not options.
    sizes = {k: v for k, v in imported.sizes.to_dict().items() if k not in ("n_genres", "n_features")}
    model = [f"size.{k}={v}" for k, v in sizes.items()]
    print(
        f"bundle: {imported.folder}\nto continue training: d2m train ... {' '.join(model)} (docs/original-weights.md)"
    )
