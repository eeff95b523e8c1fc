"""``d2m evaluate``: bundles compared with real dances and baselines; its arguments are conf/measure/evaluate.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.seeds import check_seed
from d2m.data.splits import SPLITS

#: The default protocol cards.
CARDS = ("d2m", "fact-14", "bailando-14")


def listed(key: str, value: Any) -> list[str]:
    """A value or a list of values, as a list of strings.

    Raises:
        D2MError: nothing is given.
    """
    values = value if isinstance(value, list) else [value]
    if not values or any(v is None or v == "" for v in values):
        raise D2MError(f"{key}={value if value is not None else 'null'}: give {key}=... or {key}=[...,...]")
    return [str(v) for v in values]


@job("evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate the bundles named in the config."""
    from d2m.core.files import exit_on_signals
    from d2m.reports.evaluate.run import Request, evaluate
    from d2m.reports.evaluate.show import print_comparison, print_table

    given: Any = OmegaConf.to_container(cfg, resolve=True)
    check_seed(given["seed"])
    for key in ("draws", "songs_per_genre"):
        if given[key] is not None and given[key] < 1:
            raise D2MError(f"{key}={given[key]}: give a whole number of at least 1")
    splits = listed("splits", given["splits"])
    if unknown := [s for s in splits if s not in SPLITS]:
        raise D2MError(f"splits={unknown[0]}: choose from {', '.join(SPLITS)}")
    if given["logger"] not in ("none", "wandb"):
        raise D2MError(f"logger={given['logger']}: choose none or wandb")
    exit_on_signals()
    request = Request(
        bundles=tuple(Path(b) for b in listed("bundle", given["bundle"])),
        data=None if given["data"] is None else Path(given["data"]),
        out=Path(given["out"]),
        cards=CARDS if given["card"] is None else tuple(listed("card", given["card"])),
        splits=tuple(splits),
        songs_per_genre=given["songs_per_genre"],
        draws=given["draws"],
        baselines=bool(given["baselines"]),
        seed=given["seed"],
        style_mode=given["style_mode"],
        device=str(given["device"]),
    )
    done = evaluate(request)
    for table in done.tables:
        print_table(table, done.measured)
    print_comparison(done.report)
    if given["logger"] == "wandb":
        from d2m.train.callbacks.artifacts import log_evaluation

        print(log_evaluation(done.report, request.out))
    print(f"{request.out / 'report.json'}")
