"""Retrain Dancing2Music, stage by stage; see conf/train.yaml or ``python train.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.cli.command_line import prepare_overrides, run, user_errors
from d2m.cli.resume import asks_to_resume, check_run_dir, check_same_run, resumed_overrides
from d2m.core.errors import D2MError
from d2m.core.machine import is_rank_zero

CONF = str(Path(__file__).resolve().parents[3] / "conf")
#: Of this process's command, which Hydra does not hand on.
_resumes, _began = False, False


@hydra.main(config_path=CONF, config_name="train", version_base="1.3")
def train(cfg: DictConfig) -> float | None:
    """Returns the last stage's monitored value, for sweepers."""
    global _began
    _began = True
    from hydra.core.hydra_config import HydraConfig

    from d2m.cli.overrides import check_override_types
    from d2m.train.curriculum import objective
    from d2m.train.curriculum import run as run_curriculum

    hydra_cfg = HydraConfig.get()
    overrides = list(hydra_cfg.overrides.task)
    folder = RunFolder(Path(hydra_cfg.runtime.output_dir))
    # Here, because Hydra prints a job's exceptions itself.
    with user_errors():
        check_override_types("train", overrides)
        if is_rank_zero() and not _resumes:
            check_same_run(folder, overrides)
        run_curriculum(cfg, folder.path, overrides)
    print(f"run: {folder.path}" + (f"\nbundle: {folder.bundle}" if folder.bundle.exists() else ""))
    return objective(folder, list(cfg.stages))


def main() -> None:
    global _resumes
    overrides = prepare_overrides(sys.argv[1:])
    _resumes = asks_to_resume(overrides)
    overrides = resumed_overrides(overrides)
    if is_rank_zero():
        check_run_dir(overrides, _resumes)
    # Lightning starts further processes of this command from sys.argv.
    sys.argv[1:] = overrides
    try:
        train()
    except (OSError, ValueError) as e:
        # Hydra makes the folder, and opens its log in it, before the job begins.
        cause = next((link for link in (e, e.__cause__) if isinstance(link, OSError)), None)
        if _began or cause is None:
            raise
        where = cause.filename or "hydra.run.dir"
        raise D2MError(f"{where}: cannot write the run here ({cause.strerror}); choose another hydra.run.dir") from e


if __name__ == "__main__":
    run(main)
