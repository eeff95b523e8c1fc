"""The studio's views of songs' latents, training runs and evaluations."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from d2m.dance.table import LatentTable
from d2m.edits.axes import PrincipalAxes
from d2m.studio.evaluations import Places, evaluations
from tests.studio import TOKEN, Client, library, state, write_latents, write_report, write_runs

pytest.importorskip("starlette", reason="needs starlette (pip install -e .[dev])")


@pytest.fixture(scope="module")
def client(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A studio with nothing but a bundle and songs."""
    return Client(library(tiny_bundle, tmp_path_factory.mktemp("plain")))


def test_studies_say_what_they_need(client: Client) -> None:
    for what, word in (("runs", "runs=FOLDER"), ("map", "latents=FILE")):
        answer = client.http.get(f"/{TOKEN}/api/{what}")
        assert answer.status_code == 400 and word in answer.json()["message"]


@pytest.fixture(scope="module")
def informed(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A studio with latents of twelve songs, and two runs with a curve each."""
    folder = tmp_path_factory.mktemp("informed")
    latents, runs = write_latents(folder / "latents.npz", tiny_bundle), write_runs(folder / "runs")
    return Client(library(tiny_bundle, folder, latents=str(latents), runs=str(runs)))


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_a_map_has_every_song_and_how_well_genres_part(informed: Client, how: str) -> None:
    told = informed.http.get(f"/{TOKEN}/api/map?how={how}").json()
    assert [p["song"] for p in told["points"]] == ["a", *(f"s{i}" for i in range(1, 12))]
    assert told["silhouette"]["p"] < 0.05 and told["silhouette"]["null"][1] < told["silhouette"]["value"]
    assert (told["deviations"] is not None) == (how == "pca")
    assert informed.http.get(f"/{TOKEN}/api/map?how={how}&side=dance").status_code == 400


def test_an_axis_of_the_map_is_the_axis_of_the_slider(informed: Client) -> None:
    there = informed.http.get(f"/{TOKEN}/api/catalogue").json()
    told = informed.http.get(f"/{TOKEN}/api/map?how=pca").json()
    axis = PrincipalAxes(axis=0).fit_on_songs(LatentTable.load(there["latents"]))
    np.testing.assert_allclose(np.std([p["x"] for p in told["points"]], ddof=1), told["deviations"][0], rtol=1e-6)
    mu = LatentTable.load(there["latents"]).mu
    moved = (axis.transform(mu, 1.0) - mu) @ axis.components_[0]
    np.testing.assert_allclose(moved, told["deviations"][0], rtol=1e-4)
    edit = {"name": "axes", "axis": 0, "latents": there["latents"], "rows": "all", "strength": 2.0}
    header, arrays = informed.dance(state(informed.library, edit))
    assert np.abs(arrays["target"] - arrays["original"]).max() > 0 and header["versions"][-1] == "target"


def test_runs_have_their_differences_and_curves(informed: Client) -> None:
    told = informed.http.get(f"/{TOKEN}/api/runs").json()
    assert [r["config"] for r in told["runs"]] == [{"rate": 0.1, "seed": 0}, {"rate": 0.2, "seed": 0}]
    assert told["runs"][0]["stages"] == {"du_vae": ["val/cross", "val/recon"]}
    curve = informed.http.get(f"/{TOKEN}/api/curves?run=two&stage=du_vae&key=val/recon").json()
    assert curve["points"] == [[0.0, 0.2], [9.0, 0.4]]
    for wrong in (
        "run=../..&stage=du_vae&key=val/recon",
        "run=two&stage=x&key=val/recon",
        "run=two&stage=du_vae&key=y",
    ):
        assert informed.http.get(f"/{TOKEN}/api/curves?{wrong}").status_code == 400
    # By its name alone: another run, outside of the folder, has the same file.
    outside = write_runs(Path(informed.library.runs).parent / "outside") / "two"
    answer = informed.http.get(f"/{TOKEN}/api/curves?run={outside}&stage=du_vae&key=val/recon")
    assert answer.status_code == 400 and "no such run" in answer.json()["message"]


def test_evaluations_are_found_beside_a_bundle_and_below_runs(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "run" / "bundle"
    old = write_report(tmp_path / "run" / "evaluation" / "report.json", tiny_bundle, 0.5)
    os.utime(old, (1, 1))
    beside = Places([str(bundle)])
    (found,) = evaluations(beside)
    assert found["name"] == "run" and found["songs"] == 2 and found["report"] == str(old)
    figure = found["cards"]["d2m"]["beat_hit"]
    assert (figure["value"], figure["real"], figure["chance"], figure["better"]) == (0.5, 0.9, 0.3, "higher")
    # The newest counts, whatever it calls the bundle; other JSON is passed over.
    new = write_report(tmp_path / "runs" / "x" / "y" / "report.json", tiny_bundle, 0.7, "renamed")
    for name, text in (("broken", "{"), ("list", "[1]"), ("score", json.dumps({"systems": {}}))):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "report.json").write_text(text)
    write_report(tmp_path / "runs" / "x" / "checkpoints" / "report.json", tiny_bundle, 0.1)
    (found,) = evaluations(Places([str(bundle)], str(tmp_path / "runs")))
    assert found["report"] == str(new) and found["cards"]["d2m"]["beat_hit"]["value"] == 0.7


def test_the_page_can_tell_whose_evaluation_it_is(tiny_bundle: Path, tmp_path: Path) -> None:
    write_report(tmp_path / "runs" / "evaluation" / "report.json", tiny_bundle)
    at = library(tiny_bundle, tmp_path, runs=str(tmp_path / "runs"))
    measured = Client(at).http.get(f"/{TOKEN}/api/evaluations").json()["measured"]
    assert [m["space"] for m in measured] == [at.catalogue()["bundles"][0]["space"]]
