"""The short Python API: a song in, a dance out; and the extension points for edits and metrics."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

import d2m
from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.dance import dancer as module
from d2m.dance.files import captions
from d2m.draw.video import probe
from d2m.edits.directions import EDITS, make_edit
from d2m.edits.edit import LatentEdit
from d2m.edits.strength import Schedule

CONF = Path(__file__).parents[2] / "conf" / "edit"


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    wave = 0.2 * np.sin(2 * np.pi * 220 * t) + 0.6 * np.exp(-80 * (t % 0.5)) * np.sin(2 * np.pi * 1500 * t)
    path = tmp_path_factory.mktemp("song") / "song.ogg"
    soundfile.write(path, wave, SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def dancer(tiny_bundle: Path) -> d2m.Dancer:
    return d2m.Dancer.load(tiny_bundle)


def test_the_short_way_of_the_readme(tiny_bundle: Path, song: Path, tmp_path: Path) -> None:
    dancer = d2m.Dancer.load(tiny_bundle)
    dance = dancer(song, seed=0, edit=d2m.MeanShift("drive", "flow"))
    dance.save(tmp_path / "out.mp4")
    assert dance.poses.shape == (45, 14, 2) and probe(tmp_path / "out.mp4").audio_codec is not None
    shift = dancer.generator.genre_means["flow"] - dancer.generator.genre_means["drive"]
    np.testing.assert_allclose(
        dance.z_dan - dance.versions.z_dan["original"], shift[None].repeat(len(dance.z_dan), 0), atol=1e-5
    )
    dance.save(tmp_path / "out.npz")
    dance.save(str(tmp_path / "out.json"))
    with np.load(tmp_path / "out.npz") as f:
        assert np.array_equal(f["poses"], dance.poses) and "poses_neutral" in f.files
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["song"] == "song.ogg" and told["edit"]["params"] == {"source": "drive", "target": "flow"}
    with pytest.raises(D2MError, match=r"\.npz, \.mp4, \.json"):
        dance.save(tmp_path / "out.gif")


def test_a_wave_is_the_song_and_edits_share_its_noise(dancer: d2m.Dancer, song: Path) -> None:
    heard = dancer.hear(song)
    plain, wave = dancer(heard, seed=3), dancer(heard.wave, seed=3)
    assert np.array_equal(plain.poses, wave.poses) and wave.song.path is None
    edited = dancer(heard, seed=3, edit=d2m.MeanShift("drive", "flow"), strength=0.0)
    assert np.array_equal(edited.poses, plain.poses)
    fed = dancer(heard, seed=3, z_dan=plain.z_dan)
    assert np.array_equal(fed.z_dan, plain.z_dan)
    assert dancer.latent(heard).shape == (8,)
    ramp = dancer(heard, edit=d2m.MeanShift("drive", "flow"), strength=Schedule((0, 3), (0, 1)))
    assert captions(ramp)["target"] == "target (flow, x0 to x1)"
    with pytest.raises(D2MError, match="z_dan"):
        dancer(heard, z_dan=np.zeros((0, 8)))
    for bad in (heard.wave[:22050], np.stack([heard.wave] * 2), np.full(66150, np.nan)):
        with pytest.raises(D2MError, match="a wave of shape"):
            dancer(bad)
    with pytest.raises(D2MError, match="seed"):
        dancer(heard, seed=2**63)


def test_a_song_is_decoded_and_heard_once(
    dancer: d2m.Dancer, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = module.features
    monkeypatch.setattr(module, "features", lambda *a: calls.append(1) or real(*a))
    dancer(song, edit=d2m.MeanShift("drive", "flow")).save(tmp_path / "x.json")
    assert len(calls) == 1


def test_the_originals_caption_claims_no_genre(dancer: d2m.Dancer, song: Path) -> None:
    titles = captions(dancer(song, edit=d2m.MeanShift("drive", "flow")))
    assert titles == {"original": "original", "neutral": "neutral", "target": "target (flow, x1)"}
    assert captions(dancer(song)) == {"original": "song"}


def test_an_edit_that_needs_songs_says_so(dancer: d2m.Dancer, song: Path) -> None:
    with pytest.raises(D2MError, match="boundary must be fitted on song latents"):
        dancer(song, edit=d2m.LinearBoundary("drive", "flow"))
    with pytest.raises(D2MError, match="'polka'"):
        dancer(song, edit=d2m.MeanShift("drive", "polka"))
    z = np.random.default_rng(0).normal(size=(8, 5))
    with pytest.raises(D2MError, match="latents of width 5"):
        dancer(song, edit=d2m.MeanShift("a", "b").fit(z, ["a", "b"] * 4))


@pytest.mark.parametrize("name", EDITS)
def test_an_edits_conf_shows_its_parameters(name: str) -> None:
    """The door: a class in edits/, its name in EDITS, its parameters in conf/edit/NAME.yaml with their defaults."""
    conf = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    options = {k: v for k, v in conf.items() if k not in ("defaults", "name")}
    genres = {"source", "target"}
    assert conf["name"] == name and set(options) == set(EDITS[name].parameters()) - genres
    between = {k: v for k, v in (("source", "a"), ("target", "b")) if k in EDITS[name].parameters()}
    assert make_edit(name, **between, **options).params == make_edit(name, **between).params


def test_a_new_edit_is_one_class(dancer: d2m.Dancer, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from d2m.edits.direction import Direction
    from d2m.edits.request import EditRequest, build_edit

    class Away(Direction):
        name, needs, fitted_on, fitted_arrays = "away", ("source",), "means", ("mean_",)

        def __init__(self, source: str, by: float = 1.0) -> None:
            self.source, self.by = source, by

        def fit(self, z, genre):  # type: ignore[no-untyped-def]
            raise NotImplementedError

        def from_means(self, means):  # type: ignore[no-untyped-def]
            self.mean_ = np.asarray(means[self.source])
            return self

        def shift(self, z):  # type: ignore[no-untyped-def]
            return -self.by * self.mean_

    monkeypatch.setitem(EDITS, "away", Away)
    edit = build_edit(EditRequest.of({"name": "away", "source": "drive", "by": 2}), dancer.generator)
    assert isinstance(edit, LatentEdit)
    dance = dancer(song, edit=edit)
    expected = -2 * dancer.generator.genre_means["drive"]
    np.testing.assert_allclose((dance.z_dan - dance.versions.z_dan["original"])[0], expected, atol=1e-5)
    with pytest.raises(D2MError, match=r"needs edit\.source"):
        build_edit(EditRequest.of({"name": "away"}), dancer.generator)
    with pytest.raises(D2MError, match="does not take target"):
        build_edit(EditRequest.of({"name": "away", "source": "drive", "target": "flow"}), dancer.generator)
