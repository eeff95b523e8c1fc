"""A run's folder: its layout, its finished stages, and its lock; without Lightning and Hydra.

run.json                       description and state of the run: d2m.bundle.passport
config.json                    its config, resolved
checkpoints/STAGE/last.ckpt    the checkpoint from which the stage resumes, and its result
checkpoints/STAGE/progress.json  history of last.ckpt: warm start, seconds, metrics
checkpoints/STAGE/done.json    written last, when the stage is finished
csv/STAGE/metrics.csv          every curve, with any logger
lineage/STAGE.json, lineage/bundle.json, metrics.json, bundle/, tensorboard/, wandb/, videos/, latent/, evaluation/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from d2m.core.errors import Busy, D2MError

_LOCK = ".lock"
#: Hydra's config of a sweep, in the folder above its runs.
SWEEP = "multirun.yaml"


@dataclass(frozen=True)
class RunFolder:
    """Paths and markers of one run. Reading them does not create or write anything."""

    path: Path

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep that the run is a trial of; None outside of sweeps."""
        above = self.path.parent
        return above if (above / SWEEP).is_file() else None

    @property
    def facts_path(self) -> Path:
        """The run's passport."""
        return self.path / "run.json"

    @property
    def config_path(self) -> Path:
        """The resolved config of the command that last trained here."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """Every stage's done.json, written when the whole run is done."""
        return self.path / "metrics.json"

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def videos(self) -> Path:
        return self.path / "videos"

    @property
    def latent(self) -> Path:
        """The latent study's folders, one per logged epoch."""
        return self.path / "latent"

    @property
    def evaluation(self) -> Path:
        """Results of a sweep's objective."""
        return self.path / "evaluation"

    def lineage(self, name: str) -> Path:
        """Lineage of a stage or of the bundle."""
        return self.path / "lineage" / f"{name}.json"

    def curves(self, stage: str) -> list[Path]:
        """The CSV files of a stage; a resumed stage has several."""
        return sorted((self.path / "csv" / stage).glob("metrics*.csv"))

    def checkpoint(self, stage: str) -> Path:
        """A stage's last checkpoint."""
        return self.path / "checkpoints" / stage / "last.ckpt"

    def progress_path(self, stage: str) -> Path:
        return self.checkpoint(stage).with_name("progress.json")

    def done_path(self, stage: str) -> Path:
        return self.checkpoint(stage).with_name("done.json")

    def is_done(self, stage: str) -> bool:
        """Whether a stage is finished."""
        return self.done_path(stage).is_file()

    def is_finished(self) -> bool:
        """Whether the whole run is finished."""
        return self.metrics_path.is_file()

    def has_trained(self) -> bool:
        """Whether any stage was started."""
        return any(self.path.glob("checkpoints/*/*"))

    def done(self, stage: str) -> dict[str, Any]:
        """metrics, seconds, warm_start, checkpoint_sha256, precision and seed of a finished stage; else {}."""
        return _read_json(self.done_path(stage))

    def progress(self, stage: str) -> dict[str, Any]:
        """progress.json of a stage; {} before its first session, and in older folders."""
        return _read_json(self.progress_path(stage))

    def facts(self) -> dict[str, Any]:
        """run.json; {} if there is none."""
        return _read_json(self.facts_path)

    def config(self) -> dict[str, Any]:
        """config.json; {} for older runs."""
        return _read_json(self.config_path)

    def corpus(self) -> Path:
        """The prepared corpus that the run trained on.

        Raises:
            D2MError: not a run, or one that has not opened its corpus.
        """
        corpus = self.facts().get("corpus")
        if corpus is None:
            raise D2MError(f"{self.path}: not a run of d2m train; give the folder that holds run.json and bundle")
        return Path(corpus)

    def in_use(self) -> bool:
        """Whether a process is training here now."""
        if not (self.path / _LOCK).is_file():
            return False
        try:
            with FileLock(self.path / _LOCK, timeout=0):
                return False
        except Timeout:
            return True
        except (OSError, NotImplementedError):  # not writable, or a file system without locks
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Create the folder and hold its lock; the system releases it when this process ends in any way.

        Raises:
            D2MError: another process trains here, or the folder cannot be written.
        """
        held = FileLock(self.path / _LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held.acquire()
        except Timeout:
            raise self.busy() from None
        except OSError as e:
            reason = e.strerror or str(e)
            raise D2MError(f"{self.path}: cannot write the run here ({reason}); choose another hydra.run.dir") from e
        except NotImplementedError:
            print(f"{self.path}: this file system has no locks; make sure that no other job writes here")
        try:
            yield
        finally:
            held.release()

    def busy(self) -> Busy:
        """The error of a folder in use."""
        return Busy(f"{self.path}: a run is training here now; wait for its end, or choose another hydra.run.dir")


def _read_json(path: Path) -> dict[str, Any]:
    """Raises D2MError if the file exists but is not a JSON object."""
    try:
        value = json.loads(path.read_text())
        if isinstance(value, dict):
            return value
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as e:
        raise D2MError(f"{path}: cannot be read ({e}); restore it, or choose another run") from e
    raise D2MError(f"{path}: not a file written by d2m train; restore it, or choose another run")
