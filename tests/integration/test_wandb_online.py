"""A stage's W&B run on a server: it starts, is requeued, resumes under the same id, and ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2m.train.callbacks.loggers import close_loggers, wandb_logger
from tests.wandb_server import wandb_server


def test_a_requeued_run_is_resumed_on_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()  # it has read the environment of earlier tests
    try:
        with wandb_server() as server:
            monkeypatch.setenv("WANDB_BASE_URL", server.url)
            seen = []
            for session, (loss, status) in enumerate([(2.0, "requeued"), (1.0, "success")]):
                logger = wandb_logger(str(tmp_path / "run"), "du_vae", {"config": {"seed": 7}}, tags=["mine"])
                seen.append((logger.experiment.id, logger.experiment.settings.mode, logger.experiment.resumed))
                logger.log_metrics({"train/loss": loss, "batch": float(session)}, step=session)
                close_loggers([logger], status)
    finally:
        wandb.teardown()
    (first, second), (run_id, _, _) = seen, seen[0]
    assert first == (run_id, "online", False) and second == (run_id, "online", True)
    started = server.asked["UpsertBucket"][0]
    assert (started["name"], started["project"], started["jobType"]) == (run_id, "d2m", "du_vae")
    assert started["groupName"] == f"{tmp_path.name}/run" and set(started["tags"]) == {"run:run", "mine"}
    assert json.loads(started["config"])["config"]["value"] == {"seed": 7}
    assert [q["name"] for q in server.asked["RunResumeStatus"]] == [run_id, run_id]
    curve = server.lines("wandb-history.jsonl")
    assert [h["train/loss"] for h in curve] == [2.0, 1.0] and [h["_step"] for h in curve] == [0, 1]
    offsets = [
        s["files"]["wandb-history.jsonl"]["offset"]
        for s in server.streams
        if "wandb-history.jsonl" in s.get("files", {})
    ]
    assert offsets == [0, 1]  # the second session goes on behind the first
    assert server.lines("wandb-summary.json")[-1]["train/loss"] == 1.0
    assert [s["exitcode"] for s in server.streams if s.get("complete")] == [1, 0]
    assert [bool(s.get("preempting")) for s in server.streams if "preempting" in s] == [True]
    assert "config.yaml" in server.files
