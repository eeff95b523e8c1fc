"""A run's folder: its layout, what has finished, and which process may write to it; without Lightning and Hydra.

run.json                       what the run is and how it is doing: d2m.bundle.passport
config.json                    its config, resolved
checkpoints/STAGE/last.ckpt    what the stage resumes from, and its result
checkpoints/STAGE/progress.json  what last.ckpt's training has behind it: warm start, seconds, metrics
checkpoints/STAGE/done.json    written last: the stage was trained to its end
csv/STAGE/metrics.csv          every curve, whatever the logger
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

from d2m.core.errors import D2MError

_LOCK = ".lock"
#: Hydra's config of a sweep, in the folder above its runs.
SWEEP = "multirun.yaml"


@dataclass(frozen=True)
class RunFolder:
    """Paths and markers of one run. Nothing is made or written by asking."""

    path: Path

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep that the run is a trial of; None outside of sweeps."""
        above = self.path.parent
        return above if (above / SWEEP).is_file() else None

    @property
    def facts_path(self) -> Path:
        """What the run says of itself."""
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
        """What a sweep's objective measured."""
        return self.path / "evaluation"

    def lineage(self, name: str) -> Path:
        """What a stage, or the bundle, was made from."""
        return self.path / "lineage" / f"{name}.json"

    def curves(self, stage: str) -> list[Path]:
        """The csv logger's files of a stage; a resumed one has several."""
        return sorted((self.path / "csv" / stage).glob("metrics*.csv"))

    def checkpoint(self, stage: str) -> Path:
        """A stage's last checkpoint."""
        return self.path / "checkpoints" / stage / "last.ckpt"

    def progress_path(self, stage: str) -> Path:
        return self.checkpoint(stage).with_name("progress.json")

    def done_path(self, stage: str) -> Path:
        return self.checkpoint(stage).with_name("done.json")

    def is_done(self, stage: str) -> bool:
        """Whether a stage was trained to its end."""
        return self.done_path(stage).is_file()

    def is_finished(self) -> bool:
        """Whether the whole run was."""
        return self.metrics_path.is_file()

    def has_trained(self) -> bool:
        """Whether any stage was begun."""
        return any(self.path.glob("checkpoints/*/*"))

    def done(self, stage: str) -> dict[str, Any]:
        """metrics, seconds, warm_start, checkpoint_sha256, precision and seed of a finished stage; else {}."""
        return _read_json(self.done_path(stage))

    def progress(self, stage: str) -> dict[str, Any]:
        """What the stage's sessions so far left; {} before the first, and in folders of before progress.json."""
        return _read_json(self.progress_path(stage))

    def facts(self) -> dict[str, Any]:
        """run.json; {} if there is none."""
        return _read_json(self.facts_path)

    def config(self) -> dict[str, Any]:
        """config.json; {} of runs from before there was one."""
        return _read_json(self.config_path)

    def corpus(self) -> Path:
        """The prepared corpus that the run trained on.

        Raises:
            D2MError: no run, or one that did not get that far.
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
        except (OSError, NotImplementedError):  # not ours to write to, or a file system without locks
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder and hold it; the system lets it go when this process ends, however it ends.

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

    def busy(self) -> D2MError:
        """The error of a folder in use."""
        return D2MError(f"{self.path}: a run is training here now; wait for its end, or choose another hydra.run.dir")


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
