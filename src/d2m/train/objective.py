"""A sweep's objective: the last stage's monitored value, or an evaluation of the bundle's dances."""

from __future__ import annotations

from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.reports.runs.read import EVALUATED
from d2m.train.stage import STAGES, in_order

#: Validation songs per genre, and dances per song; model selection must not use the test songs.
SONGS_PER_GENRE, DRAWS = 4, 1


def check_objective(cfg: DictConfig) -> None:
    """Check that the run will be able to compute its objective.

    Raises:
        D2MError: an unknown objective, or one that needs a bundle although no stage that dances is trained.
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
    """The objective of a finished run; None if it was never validated.

    For :data:`EVALUATED` it is :func:`d2m.metrics.edit_axes.objective` on validation songs, in [0, 1], to be maximised;
    all measurements are written to ``RUN/evaluation``.
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
