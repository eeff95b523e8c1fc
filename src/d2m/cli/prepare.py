"""``d2m prepare``: a corpus from raw recordings; its arguments are conf/prepare.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.errors import D2MError


@job("prepare")
def main(cfg: DictConfig) -> None:
    """Prepare the corpus described by the config; prints its path and contents.

    Raises:
        D2MError: an invalid value, and as :func:`d2m.prepare.run.prepare_into`.
    """
    from d2m.data.corpus import Corpus
    from d2m.prepare.plan import SplitOptions, parse_shard
    from d2m.prepare.report import report_table
    from d2m.prepare.run import merge, prepare_into, read_options
    from d2m.prepare.stated import STATED

    for key in ("val_fraction", "test_fraction"):
        if cfg[key] is None:
            raise D2MError(f"{key}=null: give a value, 0.15 for example")
    out = Path(str(cfg.out))
    if cfg.merge:
        merge(out)
    else:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
        keys = ("source", "yaws", "front_end", "beats", "beats_checkpoint", "max_gap_s", "clean", "camera")
        options = read_options(**{k: plain[k] for k in keys}, stated={k: plain[k] for k in STATED})
        splits = SplitOptions(cfg.seed, float(cfg.val_fraction), float(cfg.test_fraction))
        usable = prepare_into(
            out, str(cfg.raw), options, splits, cfg.workers, cfg.shard, cfg.strict, cfg.group_by, plain["groups"],
            str(cfg.licence or ""),
        )  # fmt: skip
        if parse_shard(cfg.shard)[1] > 1:
            print(f"shard {cfg.shard} of {out}: {usable} recordings; after all shards: merge=true out={out}")
            return
    print(report_table(Corpus.open(out).report))
    print(f"corpus: {out}")
