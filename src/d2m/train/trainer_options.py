"""Options of Lightning's Trainer that the curriculum gives itself, or that its checkpoints and batches rest on."""

from __future__ import annotations

from collections.abc import Iterable

from d2m.core.errors import D2MError

#: Option -> what to give instead.
ELSEWHERE = {
    "max_epochs": "fit.STAGE.max_epochs",
    "check_val_every_n_epoch": "fit.STAGE.check_val_every_n_epoch",
    "callbacks": "callbacks=GROUP or callbacks.NAME",
    "logger": "logger=wandb|tensorboard|csv|none",
    "default_root_dir": "hydra.run.dir",
    "enable_progress_bar": "callbacks.progress_bar",
    "enable_model_summary": "callbacks.progress_bar",
    "enable_checkpointing": "callbacks.checkpoint_every_n_epochs; stages resume from their checkpoints",
    "plugins": "nothing; checkpoints are written by d2m's own",
    "use_distributed_sampler": "nothing; the sampler knows its rank",
    "overfit_batches": "nothing; every epoch draws new batches",
    "reload_dataloaders_every_n_epochs": "nothing; every epoch draws new batches",
}


def check_options(options: Iterable[str]) -> None:
    """Refuse them, wherever they were written.

    Raises:
        D2MError: naming the key to use.
    """
    for key in options:
        if key in ELSEWHERE:
            raise D2MError(f"trainer.{key}: give {ELSEWHERE[key]}")
