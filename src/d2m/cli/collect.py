"""``d2m collect``: raw recordings from URLs and files; its arguments are conf/collect.yaml."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.errors import D2MError


@job("collect")
def main(cfg: DictConfig) -> None:
    """Collect what the manifest lists.

    Raises:
        D2MError: nothing was kept, or ``strict=true`` met a failed row.
    """
    from d2m.prepare.collect import collect

    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    kept, failed = collect(plain.pop("manifest"), plain.pop("out"), **plain)
    print(f"{len(kept)} stretches of music kept, {len(failed)} rows failed")
    if without := sum(not line["pose"] for line in kept):
        print(f"{without} of them have no poses: fill in the manifest's pose column before preparing it")
    if not kept:
        raise D2MError("nothing was collected; see the messages above")
    if failed and cfg.strict:
        raise D2MError(f"strict=true: {len(failed)} of the rows failed; see the messages above")
