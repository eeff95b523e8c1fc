"""Types of Hydra overrides, checked against the composed defaults."""

from __future__ import annotations

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from d2m.cli.command_line import check_types


def check_override_types(config_name: str, overrides: list[str]) -> None:
    """Compare every value override with what the config holds without it. Call where Hydra is initialised.

    Raises:
        D2MError: a number, switch or list was overridden by something else.
    """
    parsed = OverridesParser.create().parse_overrides(overrides)
    given = {o.key_or_group: o.value() for o in parsed if o.value() is not None}
    groups = [
        line
        for o, line in zip(parsed, overrides, strict=True)
        if isinstance(o.value(), str) and "." not in o.key_or_group
    ]
    values = {k for k in given if "." in k or k in ("seed", "stages", "torch_threads")}
    groups = [g for g in groups if g.split("=")[0].lstrip("+") not in values]
    defaults = compose(config_name, groups)
    plain = {k: OmegaConf.select(defaults, k) for k in values}
    plain = {k: list(v) if OmegaConf.is_list(v) else v for k, v in plain.items()}
    check_types({k: given[k] for k in values}, plain)
