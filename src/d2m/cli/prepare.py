"""``d2m prepare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.prepare.plan import SplitOptions, parse_shard
from d2m.prepare.run import merge, prepare_into, read_options
from d2m.prepare.stated import STATED

# --- command line --------------------------------------------------------------------------------------------


def run_config(cfg: Any) -> None:
    """A composed conf/prepare.yaml -> a corpus; prints where it is and what is in it.

    Raises:
        D2MError: a missing or wrong value, and as :func:`prepare_into`.
    """
    from omegaconf import OmegaConf

    from d2m.data.corpus import Corpus
    from d2m.prepare.report import report_table

    missing = [k for k in (("out",) if cfg.merge else ("raw", "out")) if OmegaConf.is_missing(cfg, k)]
    if missing:
        raise D2MError(f"give {' '.join(f'{k}=...' for k in missing)}; d2m prepare --help shows all")
    out = Path(str(cfg.out)).expanduser()
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


def main() -> None:
    """Hydra's entry, with conf/ of the repository that this package is installed from."""
    import hydra
    from hydra import compose
    from omegaconf import OmegaConf

    from d2m.cli.command_line import check_types, prepare_overrides, user_errors

    conf = Path(__file__).resolve().parents[3] / "conf"
    if not (conf / "prepare.yaml").is_file():
        raise D2MError(f"{conf / 'prepare.yaml'}: no such file; install d2m from its repository with pip install -e .")
    sys.argv[1:] = prepare_overrides(sys.argv[1:])

    @hydra.main(config_path=str(conf), config_name="prepare", version_base="1.3")
    def job(cfg: Any) -> None:
        with user_errors():
            defaults = compose("prepare")
            keys = ("seed", "strict", "merge", "val_fraction", "test_fraction", "max_gap_s", "yaws")
            types = {"workers": 1, **{k: defaults[k] for k in keys}}
            given = {k: cfg[k] for k in types}
            check_types(*({k: list(v) if OmegaConf.is_list(v) else v for k, v in d.items()} for d in (given, types)))
            for key in ("seed", "val_fraction", "test_fraction", "yaws"):
                if cfg[key] is None:
                    raise D2MError(f"{key}=null: give a value (default {defaults[key]})")
            run_config(cfg)

    job()
