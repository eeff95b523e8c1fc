"""What a sweeper optimises: the last stage's monitored value, or how the bundle's dances measure."""

from __future__ import annotations

from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.reports.runs.read import EVALUATED
from d2m.train.stage import STAGES, in_order

#: Of the validation songs, which is where choices are made: so many of each genre, so many dances to each.
SONGS_PER_GENRE, DRAWS = 4, 1


def check_objective(cfg: DictConfig) -> None:
    """See that the run will have what it is asked for.

    Raises:
        D2MError: an unknown objective, or one that needs a bundle where no stage that dances is trained.
    """
    if cfg.objective not in (None, EVALUATED):
        raise D2MError(f"objective={cfg.objective}: choose null (the last stage's monitored value) or {EVALUATED}")
    if cfg.objective is not None and not any(STAGES[s].dances for s in cfg.stages if s in STAGES):
        dancing = " or ".join(s for s, stage in STAGES.items() if stage.dances)
        asked = ",".join(cfg.stages)
        raise D2MError(
            f"objective={EVALUATED} needs a bundle, which stages=[{asked}] does not make: train {dancing} too, as in "
            "stages=[du_vae,music_style,mm_gan,generator]"
        )


def objective(cfg: DictConfig, run: RunFolder) -> float | None:
    """The value to optimise of a finished run; None if it was never validated.

    For :data:`EVALUATED` in [0, 1], to be maximised: :func:`d2m.metrics.edit_axes.objective` on validation songs, with
    all that was measured in ``RUN/evaluation``.
    """
    if cfg.objective is None:
        stage = in_order(list(cfg.stages))[-1]
        value = run.done(stage.name).get("metrics", {}).get(stage.monitor)
        return None if value is None else float(value)
    from d2m.reports.evaluate.run import Request, evaluate

    request = Request(
        (run.bundle,), run.evaluation, splits=("val",), songs_per_genre=SONGS_PER_GENRE, draws=DRAWS, baselines=False,
        seed=cfg.seed,
    )  # fmt: skip
    (value,) = evaluate(request).report["objective"].values()
    return float(value)
