"""The latent study during training: read back from the offline W&B run with W&B's own reader, and from files."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.data.corpus import Corpus
from d2m.draw.video import probe, render_dance
from d2m.edits.directions import load_direction
from d2m.reports import manipulation
from d2m.reports.held_out import energy_extremes
from d2m.train import curriculum
from d2m.train.build import build_module
from d2m.train.callbacks.guard import evaluating
from d2m.train.callbacks.latent import DONE, LatentManipulation
from d2m.train.checkpoints import read_checkpoint
from d2m.train.requeue import Cut
from d2m.train.stage import MM_GAN

from .conftest import compose_train
from .test_long_runs import assert_same_training

STUDY = [
    "callbacks=latent", "callbacks.latent.every_n_epochs=1", "callbacks.latent.seconds=2.5", "callbacks.latent.size=64",
    "callbacks.latent.permutations=19", "callbacks.latent.axes=false", "callbacks.dance_video=null", "stages=[mm_gan]",
]  # fmt: skip
VERSIONS = ["original", "neutral", "target"]


def inits(run: Path) -> list[str]:
    return [f"init_from.{s}={RunFolder(run).checkpoint(s)}" for s in ("du_vae", "music_style")]


def records(run_dir: Path, stage: str) -> list[list[dict[str, Any]]]:
    """The records of every offline run of a stage, oldest first, by ``wandb leet inspect``."""
    found = []
    for folder in sorted((run_dir / "wandb").glob(f"offline-run-*-{stage}*")):
        command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found.append([json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")])
    return found


def history(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [r["history"]["item"] for r in rows if r["type"] == "history"]


@pytest.fixture(scope="module")
def studied(tiny_run: Path, corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mm_gan for two epochs, the study in each, W&B offline, the bundle as reference; started from the tiny run."""
    run_dir = tmp_path_factory.mktemp("studied")
    reference = f"callbacks.latent.reference={tiny_run / 'bundle'}"
    judge = f"callbacks.latent.motion_style={RunFolder(tiny_run).checkpoint('motion_style')}"
    return curriculum.run(compose_train(corpora, *STUDY, *inits(tiny_run), reference, judge, "logger=wandb"), run_dir)


def test_wandb_holds_numbers_figures_and_a_table_of_videos(studied: Path) -> None:
    (rows,) = records(studied, "mm_gan")
    logged = [h for h in history(rows) if any(k.startswith("latent/") for k in h)]
    assert [h["epoch"] for h in logged] == [0, 1] and [h["batch"] for h in logged] == [2, 5]
    for item in logged:
        assert {f"latent/norm/{g}" for g in ("drive", "flow", "groove")} <= item.keys()
        assert "latent/distance/drive-flow" in item and -1 <= item["latent/cosine_reference"] <= 1
        assert {f"latent/kinetic_energy/drive/{v}" for v in VERSIONS} <= item.keys()
        for name in ("embeddings", "explained_variance", "energy_per_joint", "energy_over_time", "contact"):
            media = find(item, f"latent/{name}")
            assert media["_type"] == "image-file" and (run_files(studied) / media["path"]).is_file()
        media = find(item, "latent/table")
        assert media["_type"] == "table-file"
        table = json.loads((run_files(studied) / media["path"]).read_text())
        assert table["columns"] == [
            "song", "genre", "to", "version", "video", "kinetic_energy", "content_distance",
            "music_drive", "music_flow", "music_groove", "motion_drive", "motion_flow", "motion_groove",
        ]  # fmt: skip
        assert [r[3] for r in table["data"]] == VERSIONS * 3
        for first in (7, 10):  # of the music, of the motion
            assert all(abs(sum(r[first : first + 3]) - 1) < 1e-4 for r in table["data"])
        of_motion = [tuple(r[10:]) for r in table["data"]]
        assert all(len(set(of_motion[k : k + 3])) == 3 for k in (0, 3, 6)), "every version is judged on its own"
    # The dashboard reads the table's artifact, which holds the videos; it is staged in the run's folder.
    artifacts = [r["artifact"] for r in rows if r["type"] == "artifact" and r["artifact"]["type"] == "run_table"]
    assert len(artifacts) == 2
    for artifact in artifacts:
        held = {e["path"]: Path(e["local_path"]) for e in artifact["manifest"]["contents"]}
        assert all(p.is_file() and p.is_relative_to(studied) for p in held.values())
        cells = [r[4] for r in json.loads(held["latent/table.table.json"].read_text())["data"]]
        assert len(cells) == 9 and all(c["_type"] == "video-file" and c["path"] in held for c in cells)
    assert "latent/cosine_previous" not in logged[0] and -1 <= logged[1]["latent/cosine_previous"] <= 1


def run_files(run_dir: Path) -> Path:
    (folder,) = (run_dir / "wandb").glob("offline-run-*-mm_gan")
    return folder / "files"


def find(item: dict[str, Any], key: str) -> dict[str, Any]:
    """A media record, nested or as ``key.path``."""
    if isinstance(item.get(key), dict):
        return item[key]
    return {k.removeprefix(f"{key}."): v for k, v in item.items() if k.startswith(f"{key}.")}


def test_the_same_lies_in_the_runs_folder(studied: Path, tiny_run: Path) -> None:
    folder = studied / "latent" / "mm_gan-epoch0002"
    with open(folder / "table.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 9 and {r["version"] for r in rows} == set(VERSIONS)
    for row in rows:
        info = probe(folder / row["video"])
        assert info.video_codec == "h264" and info.audio_codec == "aac" and abs(info.seconds - 2.5) < 0.1
        assert 0 < float(row["kinetic_energy"]) < 1e7  # finite, and the dancer moves
        assert (float(row["content_distance"]) == 0) == (row["version"] == "original")
    assert {p.name for p in (folder / "figures").iterdir()} >= {"energy_per_joint.png", "embeddings_music.png"}
    direction, index = load_direction(folder / "direction")
    assert index["facts"] == {"stage": "mm_gan", "epoch": 2} and np.isfinite(direction.shift(np.zeros(1))).all()
    facts = json.loads((folder / DONE).read_text())
    corpus = Corpus.open(RunFolder(tiny_run).corpus())  # one training song a genre: any of them may be the liveliest
    assert (facts["source"], facts["target"]) == energy_extremes(corpus)


def test_the_lineage_leads_from_the_corpus_to_the_bundle(studied: Path, tiny_run: Path) -> None:
    stage = json.loads((studied / "lineage" / "mm_gan.json").read_text())
    assert [n["name"] for n in stage["inputs"]] == ["corpus", "du_vae", "music_style"]
    made = json.loads(RunFolder(tiny_run).done_path("du_vae").read_text())["checkpoint_sha256"]
    assert stage["inputs"][1]["sha256"] == made
    bundle = json.loads((studied / "lineage" / "bundle.json").read_text())
    assert bundle["inputs"][1]["sha256"] == stage["outputs"][0]["sha256"]
    (rows,) = records(studied, "bundle")
    logged = {r["artifact"]["name"]: r["artifact"] for r in rows if r["type"] == "artifact"}
    assert set(logged) == {"corpus", "bundle"} and f"sha-{bundle['outputs'][0]['sha256'][:12]}" in logged["bundle"][
        "aliases"
    ]  # fmt: skip
    weights = [e for e in logged["bundle"]["manifest"]["contents"] if e["path"] == "weights.safetensors"]
    assert weights[0]["ref"].startswith("file:") and weights[0]["digest"]
    (rows,) = records(studied, "mm_gan")
    assert {r["artifact"]["name"] for r in rows if r["type"] == "artifact"} >= {"corpus", "mm_gan"}
    assert "lineage" in json.dumps([r["config"] for r in rows if r["type"] == "config"])


class Bomb(pl.Callback):
    """Kills after the study of epoch 2 was logged and before its checkpoint."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("bomb")


def test_a_killed_run_logs_no_epoch_twice(
    tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["callbacks.latent.seconds=1", "callbacks.latent.size=32", "fit.mm_gan.max_epochs=3"]
    cfg = compose_train(corpora, *STUDY, *inits(tiny_run), "logger=wandb", *short)
    original: Callable[..., Any] = curriculum.build_callbacks
    with monkeypatch.context() as m:
        m.setattr(curriculum, "build_callbacks", lambda *a, **k: [*original(*a, **k), Bomb()])
        with pytest.raises(RuntimeError, match="bomb"):
            curriculum.run(cfg, tmp_path)
    curriculum.run(cfg, tmp_path)
    runs = records(tmp_path, "mm_gan")
    assert len(runs) == 2
    assert len({r["run"]["run_id"] for rows in runs for r in rows if r["type"] == "run"}) == 1
    epochs = [h["epoch"] for rows in runs for h in history(rows) if "latent/norm/flow" in h]
    assert epochs == [0, 1, 2]


def test_a_signal_abandons_the_study_and_the_next_session_makes_it(
    studied: Path, tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"callbacks.latent.reference={tiny_run / 'bundle'}"
    judge = f"callbacks.latent.motion_style={RunFolder(tiny_run).checkpoint('motion_style')}"
    cfg = compose_train(corpora, *STUDY, *inits(tiny_run), reference, judge, "logger=none")
    rendered: list[Path] = []

    def render(path: Path, *args: Any, **kwargs: Any) -> Path:
        rendered.append(path)
        if len(rendered) in (2, 13):  # in the study of the first epoch, and, nine videos later, of the last one
            signal.raise_signal(signal.SIGTERM)
        return render_dance(path, *args, **kwargs)

    monkeypatch.setattr(manipulation, "render_dance", render)
    for epoch, videos in ((1, 2), (2, 13)):
        with pytest.raises(Cut) as end:
            curriculum.run(cfg, tmp_path)
        assert end.value.code == 143 and len(rendered) == videos
        loops = read_checkpoint(RunFolder(tmp_path).checkpoint("mm_gan"))["loops"]["fit_loop"]
        assert loops["epoch_progress"]["current"]["processed"] == epoch
        assert not (tmp_path / "latent" / f"mm_gan-epoch{epoch:04d}").exists()
    curriculum.run(cfg, tmp_path)
    assert len(rendered) == 22
    assert_same_training(studied, tmp_path, "mm_gan")
    there, here = ({p.relative_to(r): p for p in (r / "latent").rglob("*.*")} for r in (studied, tmp_path))
    assert there.keys() == here.keys() and len(there) > 40
    assert [name for name in there if there[name].read_bytes() != here[name].read_bytes()] == []
    assert {p.name for p in (studied / "lineage").iterdir()} == {p.name for p in (tmp_path / "lineage").iterdir()}


def test_nothing_is_logged_in_fast_dev_run_and_modes_are_restored(
    tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose_train(corpora, *STUDY, *inits(tiny_run), "logger=wandb", "trainer.fast_dev_run=true")
    curriculum.run(cfg, tmp_path)
    assert not (tmp_path / "latent").exists() and not (tmp_path / "lineage" / "mm_gan.json").exists()
    assert not records(tmp_path, "bundle")
    import wandb

    assert wandb.run is None  # closed, though Lightning put a dummy in its place
    module = build_module(cfg, MM_GAN, 3)
    module.train()
    module.net.movement_encoder.eval()
    before = [m.training for m in module.modules()]
    with pytest.raises(RuntimeError), evaluating(module):
        assert not any(m.training for m in module.modules())
        raise RuntimeError
    assert [m.training for m in module.modules()] == before and set(before) == {True, False}


@pytest.mark.parametrize("choice", ["tensorboard", "none"])
def test_other_loggers(choice: str, tiny_run: Path, corpora: Path, tmp_path: Path) -> None:
    cfg = compose_train(corpora, *STUDY, *inits(tiny_run), f"logger={choice}", "callbacks.latent.every_n_epochs=9")
    curriculum.run(cfg, tmp_path)
    # Only after the last epoch, and not after the sanity check.
    assert [p.name for p in (tmp_path / "latent").iterdir()] == ["mm_gan-epoch0002"]
    if choice == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard" / "mm_gan"))
        events.Reload()
        tags = events.Tags()
        assert {"latent/contact", "latent/embeddings"} <= set(tags["images"])
        assert "latent/table/text_summary" in tags["tensors"] and "latent/distance/drive-flow" in tags["scalars"]


def test_what_cannot_be_studied_is_refused_before_training(tiny_run: Path, corpora: Path, tiny_bundle: Path) -> None:
    from functools import partial

    corpus = Corpus.open(RunFolder(tiny_run).corpus())
    make = partial(
        LatentManipulation, every_n_epochs=1, songs_per_genre=1, latents_per_genre=2, seconds=2, size=64, seed=0,
        motion_style=None, axes=False, permutations=9, stage="mm_gan", run=RunFolder(Path("x")), corpus=corpus,
    )  # fmt: skip
    with pytest.raises(D2MError, match="no song has this genre"):
        make(source="polka", target="flow", reference=None)
    with pytest.raises(D2MError, match="give two genres"):
        make(source="flow", target="flow", reference=None)
    high, low = energy_extremes(corpus)
    callback = make(source=None, target=high, reference=str(tiny_bundle))
    assert (callback.source, callback.target) == (low, high)
    module = build_module(compose_train(corpora), MM_GAN, 3)
    with pytest.raises(D2MError, match="width 8"):
        callback.on_fit_start(pl.Trainer(logger=False, enable_progress_bar=False), module)


def test_the_studys_files_join_the_lineage(tiny_run: Path, tmp_path: Path) -> None:
    from tests.commands import d2m

    bundle, latents = f"bundle={tiny_run / 'bundle'}", tmp_path / "latents"
    corpus = f"corpus={RunFolder(tiny_run).corpus()}"
    with pytest.raises(D2MError, match="choose none or wandb"):
        d2m("study", "extract", bundle, corpus, f"out={latents}", "logger=csv")
    d2m("study", "extract", bundle, corpus, f"out={latents}", "draws=2", "noise=4", "logger=wandb")
    made = json.loads((latents / "lineage.json").read_text())
    assert [n["kind"] for n in made["inputs"]] == ["bundle", "corpus"]
    assert [n["name"] for n in made["outputs"]] == ["latents", "latents_dance"]
    out = tmp_path / "direction"
    given = [f"latents={latents / 'latents.npz'}", "source=drive", "target=flow", "logger=wandb"]
    d2m("study", "fit", bundle, f"out={out}", *given)
    fitted = json.loads((out / "lineage.json").read_text())
    assert fitted["inputs"][1]["sha256"] == made["outputs"][0]["sha256"]
    assert fitted["outputs"][0]["name"] == "direction-mean_shift"
    (rows,) = records(out, "direction")
    assert "direction-mean_shift" in [r["artifact"]["name"] for r in rows if r["type"] == "artifact"]


def test_a_server_that_does_not_answer_is_offline(tmp_path: Path) -> None:
    program = (
        "from d2m.train.callbacks import loggers\n"
        "loggers.CONNECT_SECONDS = 2.0\n"
        f"logger = loggers.wandb_logger({str(tmp_path)!r}, 'du_vae', {{}})\n"
        "logger.log_metrics({'a': 1.0}, step=1)\n"
        "loggers.close_loggers([logger], 'success')\n"
    )
    env = {**os.environ, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    env.pop("WANDB_MODE", None)
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "logged offline" in done.stdout and "upload it with: wandb sync" in done.stdout
    (rows,) = records(tmp_path, "du_vae")
    assert any(h.get("a") == 1.0 for h in history(rows))
