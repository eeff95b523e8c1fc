"""``d2m score``: dances in files, measured by a protocol card; its arguments are conf/measure/score.yaml."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.seeds import check_seed


@job("score")
def main(cfg: DictConfig) -> None:
    """Print the table of a card's figures, and the report's path.

    Raises:
        D2MError: an invalid value, and as :func:`d2m.reports.score.score`.
    """
    from d2m.prepare.stated import STATED
    from d2m.reports.evaluate.show import print_table
    from d2m.reports.score import ScoreRequest, score

    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    for key in ("card", "split", "camera", "repair"):
        if plain[key] is None:
            raise D2MError(f"{key}=null: give a value, or omit {key}=")
    if not isinstance(plain["card"], str):
        raise D2MError(f"card={plain['card']}: give one card; figures of different cards are never put in one table")
    check_seed(plain["seed"])
    given = {f.name: plain[f.name] for f in fields(ScoreRequest) if f.name != "stated"}
    scored = score(ScoreRequest(**given, stated={k: plain[k] for k in STATED}))
    print_table(scored.table, (scored.name,))
    for name, figure in scored.table.rows[scored.name].items():
        if figure.value != figure.value:
            print(f"{name} is not measured: {figure.note}")
    print(f"report: {Path(plain['out']) / 'report.json'}")
