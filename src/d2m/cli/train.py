"""Retrain Dancing2Music, stage by stage; see conf/train.yaml or ``python train.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from d2m.cli.command_line import prepare_overrides, run, user_errors

CONF = str(Path(__file__).resolve().parents[3] / "conf")


@hydra.main(config_path=CONF, config_name="train", version_base="1.3")
def train(cfg: DictConfig) -> float | None:
    """Returns the last stage's monitored value, for sweepers."""
    from hydra.core.hydra_config import HydraConfig

    from d2m.cli.overrides import check_override_types
    from d2m.train.curriculum import objective
    from d2m.train.curriculum import run as run_curriculum

    hydra_cfg = HydraConfig.get()
    # Here, because Hydra prints a job's exceptions itself.
    with user_errors():
        check_override_types("train", list(hydra_cfg.overrides.task))
        run_dir = run_curriculum(cfg, Path(hydra_cfg.runtime.output_dir))
    bundle = run_dir / "bundle"
    print(f"run: {run_dir}" + (f"\nbundle: {bundle}" if bundle.exists() else ""))
    return objective(run_dir, list(cfg.stages))


def main() -> None:
    overrides = prepare_overrides(sys.argv[1:])
    if any(o.lstrip("+").startswith("resume=") for o in overrides):
        from d2m.cli.resume import resumed_overrides

        overrides = resumed_overrides(overrides)
    # Lightning starts further processes of this command from sys.argv.
    sys.argv[1:] = overrides
    train()


if __name__ == "__main__":
    run(main)
