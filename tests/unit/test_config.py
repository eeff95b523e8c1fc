"""Every config composes; every key of a target exists in its signature; what can be built without data is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from d2m.train.stage import STAGES, Stage
from tests.commands import d2m

REPO = Path(__file__).parents[2]
CONF = REPO / "conf"
#: Given by the code when it instantiates, not by the config.
GIVEN_LATER = {
    "d2m.train.callbacks.": {"stage", "run", "corpus"},
    "torch.optim.": {"params"},
    "d2m.train.callbacks.loggers.": {"run_dir", "stage", "hparams"},
}


def composed(config: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config, list(overrides))


def group(name: str) -> list[str]:
    return sorted(p.stem for p in (CONF / name).glob("*.yaml"))


GROUPS = ("data", "size", "trainer", "logger", "callbacks", "fit", "experiment", "debug", "model/music_style")
CHOICES = [(g, choice) for g in GROUPS for choice in group(g)]
#: Parts of modules that exist only while they train.
HELPERS = {"tempo_head", "noise_encoder"}


def targets(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for child in node.values():
            yield from targets(child)


@pytest.mark.parametrize(("name", "choice"), CHOICES)
def test_every_choice_composes_and_every_key_is_in_the_signature(name: str, choice: str) -> None:
    cfg = composed("train", f"{name}={choice}")
    plain = OmegaConf.to_container(cfg, resolve=True)
    found = list(targets(plain))
    assert len(found) >= 8  # five models, trainer, logger, corpus
    for node in found:
        target = node["_target_"]
        parameters = inspect.signature(get_method(target) if "." in target else target).parameters
        keys = {k for k in node if not k.startswith("_")}
        assert keys <= parameters.keys(), f"{target} takes no {sorted(keys - parameters.keys())}"
        required = {k for k, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
        missing = required - {"self"} - keys
        missing -= set().union(*(names for prefix, names in GIVEN_LATER.items() if target.startswith(prefix)))
        assert not missing, f"{target} needs {sorted(missing)}"


@pytest.mark.parametrize("path", [p for p in CONF.rglob("*.yaml") if "${now:" in p.read_text()], ids=lambda p: p.name)
def test_jobs_that_begin_in_one_second_have_two_folders(path: Path) -> None:
    folders = [line for line in path.read_text().splitlines() if "${now:" in line]
    assert all("${token:}" in line for line in folders), folders


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_every_stage_is_built(stage: Stage, size: str) -> None:
    from d2m.train.build import build_module

    cfg = composed("train", f"size={size}")
    module = build_module(cfg, stage, 3)
    assert all(isinstance(v, int | float | str | dict | list | bool | None) for v in module.hparams.values())
    assert type(module).__module__ == f"d2m.train.modules.{stage.name}"
    # Metrics have no parameters.
    children = {k for k, child in module.named_children() if any(True for _ in child.parameters())}
    assert children - HELPERS - {"net"} == {n for n in stage.networks if "." not in n} - {"net"}
    if "net" not in stage.networks:
        assert {f"net.{k}" for k, _ in module.net.named_children()} == {n for n in stage.networks if "." in n}
    for source, names in stage.warm_starts.items():
        assert set(names) <= set(stage.networks) and set(names.values()) <= set(STAGES[source].networks)


@pytest.mark.parametrize("choice", ["wandb", "tensorboard", "csv", "none"])
def test_every_logger_is_built_offline(choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    make = instantiate(composed("train", f"logger={choice}").logger, _partial_=True)
    logger = make(run_dir=str(tmp_path), stage="du_vae", hparams={"a": 1})
    assert (logger is False) == (choice == "none")


@pytest.mark.parametrize("choice", ["auto", "cpu"])
def test_the_trainer_is_built(choice: str) -> None:
    trainer = instantiate(composed("train", f"trainer={choice}", "trainer.precision=32-true").trainer, logger=False)
    assert type(trainer).__name__ == "Trainer"


@pytest.mark.parametrize("choice", group("edit"))
def test_every_edit_composes(choice: str) -> None:
    cfg = composed("infer", f"edit={choice}")
    assert cfg.edit.name == choice


def test_the_config_has_every_stage() -> None:
    cfg = composed("train")
    assert set(cfg.model) == set(cfg.fit) == set(cfg.continue_from) == set(STAGES)
    assert set(cfg.init_from) == {name for stage in STAGES.values() for name in stage.warm_starts}


def sweep(choice: str) -> dict[str, Any]:
    """What the sweeper sweeps."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"hparams_search={choice}"], return_hydra_config=True)
    assert str(cfg.hydra.mode).endswith("MULTIRUN") and set(cfg.stages) <= set(cfg.model)
    return {**(cfg.hydra.sweeper.params or {}), **cfg.hydra.sweeper.get("default_params", {})}


@pytest.mark.parametrize("choice", group("hparams_search"))
def test_every_search_composes_and_names_keys_that_exist(choice: str) -> None:
    plain, parser = composed("train"), OverridesParser.create()
    swept = sweep(choice)
    assert swept
    for key, values in swept.items():
        assert OmegaConf.select(plain, key) is not None, key
        assert parser.parse_override(f"{key}={values}").is_sweep_override()


@pytest.mark.parametrize("path", sorted((REPO / "experiments" / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_wandb_sweep_drives_train(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(config, dict) and (REPO / config["program"]).is_file()
    assert config["command"][-1] == "${args_no_hyphens}"
    drawn = {k: v.get("value", v.get("max", (v.get("values") or [None])[-1])) for k, v in config["parameters"].items()}
    forms = create_sweep_command_args({"args": {k: {"value": v} for k, v in drawn.items()}})
    given: list[list[str]] = []
    monkeypatch.setattr("hydra._internal.utils._run_hydra", lambda args, *_: given.append(args.overrides))
    d2m("train", *forms["args_no_hyphens"])
    d2m("train", *forms["args"])  # what an agent sends unless the command says otherwise
    assert given[0] == given[1] and len(given[0]) == len(drawn)
    cfg = composed("train", *given[0])
    (stage,) = cfg.stages
    monitor, mode = STAGES[stage].monitor, STAGES[stage].mode
    assert config["metric"] == {"name": monitor, "goal": f"{mode}imize"}
    assert all(OmegaConf.select(cfg, k) == v for k, v in drawn.items() if isinstance(v, int | float))


def test_the_style_mode_reaches_all_that_dances_in_a_training() -> None:
    for overrides, mode in (([], "local"), (["experiment=paper"], "windows"), (["style_mode=legacy"], "legacy")):
        cfg = composed("train", "callbacks=latent", *overrides)
        read = (cfg, cfg.model.generator, cfg.callbacks.dance_video, cfg.callbacks.latent)
        assert [node.style_mode for node in read] == [mode] * 4
    assert composed("infer", "bundle=b", "music=a", "out=o").style_mode is None


def test_the_style_network_is_chosen_with_its_recipe_and_reaches_every_stage() -> None:
    for overrides, network in (([], "statistics"), (["model/music_style=paper"], "gru"), (["experiment=paper"], "gru")):
        cfg = composed("train", *overrides)
        assert cfg.size.style_network == network
        assert all(node.sizes.style_network == network for node in cfg.model.values())
        assert (cfg.model.music_style.augment is None) == (network == "gru")
