"""Lineage (which outputs were made from which inputs), as W&B artifacts and as JSON under ``<run>/lineage``.

corpus -> du_vae, music_style -> mm_gan -> generator -> bundle -> latents -> directions. Artifacts hold small files;
checkpoints, weights and latents are references with checksums, so that nothing large is copied or uploaded. The alias
``sha-XXXXXXXXXXXX`` is a digest of the contents: equal contents are the same version in every run (docs/adr/0047).
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, WandbLogger

from d2m.bundle import sha256
from d2m.bundle.format import FILES, PROVENANCE, WEIGHTS
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.dance.table import LatentTable
from d2m.data.corpus import Corpus
from d2m.edits.direction import ARRAYS, INDEX
from d2m.train.callbacks.loggers import close_loggers, wandb_logger, within_limit

#: How long to wait for the upload of an input that the server does not have yet.
UPLOAD_SECONDS = 60


@dataclass(frozen=True)
class Node:
    """A node of the lineage. digest: sha256 of its contents. files: copied. references: only path and checksum."""

    kind: str
    name: str
    digest: str
    files: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        return f"sha-{self.digest[:12]}"

    def plain(self) -> dict[str, Any]:
        """As a plain mapping, for JSON and a W&B run's config: a local reference."""
        return {
            "kind": self.kind, "name": self.name, "sha256": self.digest,
            "files": [p.name for p in (*self.files, *self.references)], **self.metadata,
        }  # fmt: skip

    def artifact(self) -> Any:
        """The W&B artifact."""
        import wandb

        artifact = wandb.Artifact(
            within_limit(self.name), type=self.kind, metadata={"sha256": self.digest, **self.metadata}
        )
        for path in self.files:
            artifact.add_file(str(path), name=path.name)
        for path in self.references:
            artifact.add_reference(path.resolve().as_uri(), name=path.name, checksum=True)
        return artifact


def corpus_node(folder: Path) -> Node:
    """A prepared corpus: its index, report and normaliser; the digest of its inputs is the fingerprint of the rest."""
    corpus, normalizer = Corpus.open(folder), folder / "normalizer.npz"
    files = tuple(p for p in (folder / "index.json", folder / "corpus.json", normalizer) if p.is_file())
    digest = hashlib.sha256(f"{corpus.digest} {sha256(normalizer)}".encode()).hexdigest()
    return Node("corpus", "corpus", digest, files, (), {"fingerprint": corpus.digest, "genres": list(corpus.genres)})


def checkpoint_node(stage: str, path: Path) -> Node:
    """A stage's checkpoint."""
    return Node("checkpoint", stage, sha256(path), (), (path,), {"stage": stage})


def bundle_node(folder: Path) -> Node:
    """A bundle: its small files, and its weights by reference.

    Raises:
        D2MError: no bundle.
    """
    try:
        seal = str(json.loads((folder / PROVENANCE).read_text())["seal"])
    except (OSError, ValueError, KeyError) as e:
        raise D2MError(f"{folder}: no such bundle folder; d2m train writes one to <run>/bundle") from e
    small = tuple(folder / n for n in FILES if n != WEIGHTS)
    return Node("bundle", "bundle", seal, small, (folder / WEIGHTS,))


def latents_node(path: Path) -> Node:
    """An extracted table of latents."""
    table = LatentTable.load(path)
    songs = {g: len(set(table.song[table.genre == g].tolist())) for g in table.genres}
    return Node("latents", path.stem, sha256(path), (), (path,), {"songs": songs, "space": table.meta.get("space", "")})


def direction_node(folder: Path) -> Node:
    """A direction file."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    digest = hashlib.sha256((sha256(folder / INDEX) + sha256(folder / ARRAYS)).encode()).hexdigest()
    facts = {"direction": index["direction"], "params": index["params"], "space": index["space"]}
    return Node("direction", f"direction-{index['direction']}", digest, (folder / INDEX, folder / ARRAYS), (), facts)


def record(logger: Logger | None, path: Path, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
    """Write the JSON and, if the logger is a W&B run, log the artifacts.

    Online, the inputs are marked as used by the run. W&B cannot do this offline: the inputs are listed in the run's
    config instead, and a corpus, which is no run's output, is logged so that it exists once the run is synced. A
    failure of W&B is a warning and never ends a run.
    """
    lineage = {"inputs": [n.plain() for n in inputs], "outputs": [n.plain() for n in outputs]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, lineage)
    if not isinstance(logger, WandbLogger):
        return
    run: Any = logger.experiment
    try:
        run.config.update({"lineage": lineage}, allow_val_change=True)
        online = not run.settings._offline
        for node in inputs:
            if online:
                _use(run, node)
            elif node.kind == "corpus":
                run.log_artifact(node.artifact(), aliases=[node.alias])
        for node in outputs:
            run.log_artifact(node.artifact(), aliases=[node.alias, "latest"])
    except Exception as e:  # W&B, its server and its staging folder raise many kinds
        warnings.warn(f"W&B did not accept the lineage ({str(e)[:200]}); it is in {path}", stacklevel=2)


def _use(run: Any, node: Node) -> None:
    """Mark the server's artifact of this name and alias as used; if there is none, upload it first."""
    import wandb

    try:
        run.use_artifact(f"{within_limit(node.name)}:{node.alias}", type=node.kind)
    except (wandb.errors.CommError, ValueError):
        run.log_artifact(node.artifact(), aliases=[node.alias]).wait(timeout=UPLOAD_SECONDS)
        run.use_artifact(f"{within_limit(node.name)}:{node.alias}", type=node.kind)


class Lineage(pl.Callback):
    """Records a stage's inputs and its checkpoint when training ends; on rank zero only.

    Args:
        inputs: stage -> checkpoint that this stage was warm-started from.
    """

    def __init__(self, stage: str, run: RunFolder, corpus_dir: Path, inputs: Mapping[str, Path]) -> None:
        self.stage, self.run, self.corpus_dir, self.inputs = stage, run, corpus_dir, dict(inputs)

    def on_fit_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        checkpoint = self.run.checkpoint(self.stage)
        if not trainer.is_global_zero or trainer.fast_dev_run or not checkpoint.is_file():
            return
        inputs = [corpus_node(self.corpus_dir)]
        inputs += [checkpoint_node(s, p) for s, p in self.inputs.items() if p.is_file()]
        for logger in trainer.loggers or [None]:
            record(logger, self.run.lineage(self.stage), inputs, [checkpoint_node(self.stage, checkpoint)])


def log_bundle(
    make_logger: Callable[..., Any],
    bundle: Path,
    run: RunFolder,
    corpus_dir: Path,
    made_of: Mapping[str, Path],
    config: Mapping[str, Any],
) -> None:
    """Record a bundle, in W&B as a short run of its own with job type "bundle", in the training run's group.

    In W&B's table this run represents the whole training: it has the training's config, and its summary has every
    stage's last metrics as STAGE/KEY, and STAGE/seconds.
    """
    inputs = [corpus_node(corpus_dir), *(checkpoint_node(s, p) for s, p in made_of.items())]
    path, outputs = run.lineage("bundle"), [bundle_node(bundle)]
    if getattr(make_logger, "func", make_logger) is not wandb_logger:
        record(None, path, inputs, outputs)
        return
    logger = make_logger(run_dir=str(run.path), stage="bundle", hparams={"stage": "bundle", "config": config})
    try:
        record(logger, path, inputs, outputs)
        logger.experiment.summary.update(whole_summary(run))
    finally:
        close_loggers([logger], "success", say=False)


def whole_summary(run: RunFolder) -> dict[str, float]:
    """STAGE/KEY -> last value, for every finished stage; also STAGE/seconds."""
    summary: dict[str, float] = {}
    for path in sorted(run.path.glob("checkpoints/*/done.json")):
        stage, done = path.parent.name, run.done(path.parent.name)
        told = {**done.get("metrics", {}), "seconds": done.get("seconds")}
        summary |= {f"{stage}/{k}": v for k, v in told.items() if isinstance(v, int | float) and math.isfinite(v)}
    return summary


def log_objective(make_logger: Callable[..., Any], run: RunFolder, key: str, value: float) -> None:
    """Write the value that a sweep optimises to the summary of the bundle's W&B run."""
    if getattr(make_logger, "func", make_logger) is not wandb_logger:
        return
    logger = make_logger(run_dir=str(run.path), stage="bundle", hparams={})
    try:
        logger.experiment.summary.update({key: value})
    finally:
        close_loggers([logger], "success", say=False)


def log_study_outputs(command: str, arguments: Mapping[str, Any], project: str = "d2m") -> str:
    """Record what ``d2m study extract`` or ``fit`` wrote, as a W&B run in OUT; returns a line for the user.

    Args:
        command: "extract" or "fit". arguments: those of the command: bundle, corpus, latents, out.

    Raises:
        D2MError: no readable bundle or latents.
    """
    out = Path(arguments["out"])
    inputs = [bundle_node(Path(arguments["bundle"]))]
    if arguments.get("corpus"):
        inputs.append(corpus_node(Path(arguments["corpus"])))
    if command == "extract":
        names = ("latents.npz", "latents_dance.npz")
        outputs = [latents_node(out / n) for n in names if (out / n).is_file()]
    else:
        if arguments.get("latents"):
            inputs.append(latents_node(Path(arguments["latents"])))
        outputs = [direction_node(out)]
    stage = "latents" if command == "extract" else "direction"
    logger = wandb_logger(str(out), stage, {"command": command}, project)
    try:
        record(logger, out / "lineage.json", inputs, outputs)
    finally:
        close_loggers([logger], "success")
    return f"lineage in {out / 'lineage.json'}"


def log_evaluation(report: Mapping[str, Any], out: Path, project: str = "d2m") -> str:
    """Log the results of ``d2m evaluate``: one W&B run per bundle, in OUT; its summary has them as eval/CARD/FIGURE.

    The real dances' value of each figure is eval/CARD/real/FIGURE, so that a table of runs shows both. Returns a line
    for the user.
    """
    for name, facts in report["bundles"].items():
        summary = {}
        for card, table in report["cards"].items():
            for prefix, row in ((f"eval/{card}", name), (f"eval/{card}/real", "real")):
                for key, figure in table["rows"][row].items():
                    summary[f"{prefix}/{key}"] = figure["value"]
        summary |= {"eval/objective": report["objective"][name]} if name in report["objective"] else {}
        config = {"bundle": name, **facts, "songs": len(report["songs"]), "draws": report["draws"]}
        logger = wandb_logger(str(out), f"evaluation-{name}", config, project)
        try:
            logger.log_metrics({k: v for k, v in summary.items() if math.isfinite(v)})
        finally:
            close_loggers([logger], "success")
    n = len(report["bundles"])
    return f"{n} W&B {'run' if n == 1 else 'runs'} of figures in {out / 'wandb'}"
