"""The style of a segment: of the whole song, or local, from the music around it; where the mode is set and recorded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile
import torch
from omegaconf import OmegaConf

from d2m.bundle import format as bundle_format
from d2m.bundle import read_bundle, write_bundle
from d2m.cli.infer import infer
from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SAMPLE_RATE, SEQUENCE_FRAMES, STYLE_FRAMES
from d2m.dance.clock import segment_centres_s
from d2m.dance.dancer import Dancer
from d2m.dance.encoding import Extraction, encode_songs
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise, pick_draws
from d2m.dance.song_dance import SongDance
from d2m.dance.together import dance_to
from d2m.edits.mean_shift import MeanShift
from d2m.music.front_ends import features
from d2m.music.transforms import halves
from d2m.nets.blocks import window_starts
from d2m.nets.music_style import LOCAL_FRAMES, MusicStyle, mean_around
from d2m.train.modules.generator import GeneratorModule
from tests.conftest import SIZES
from tests.unit.waves import music, tone

BEATS = np.arange(0.3, 20, 0.5)


@pytest.fixture
def net() -> MusicStyle:
    torch.manual_seed(0)
    return MusicStyle(3, 28, 30).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator(tiny_bundle: Path) -> DanceGenerator:
    return DanceGenerator.load(tiny_bundle, style_mode="local")


@pytest.fixture(scope="module")
def changing() -> np.ndarray:
    """(300, 28) features of 20 s that change in the middle."""
    rng = np.random.default_rng(2)
    return (rng.normal(size=(300, 28)) + 2 * np.where(np.arange(300) < 150, -1, 1)[:, None]).astype(np.float32)


def loop(net: MusicStyle, song: torch.Tensor, middle: float) -> torch.Tensor:
    """The local style of one segment, window by window."""
    t = len(song)
    span = min(LOCAL_FRAMES, t)
    begin = min(max(round(middle - span / 2), 0), t - span)
    heard = [
        net.style(song[None, s : s + STYLE_FRAMES])[0]
        for s in window_starts(t, STYLE_FRAMES).tolist()
        if begin <= s and s + STYLE_FRAMES <= begin + span
    ]
    return torch.stack(heard).mean(0)


@pytest.mark.parametrize("t", [30, 31, 45, 95, 96, 97, 150, 301])
def test_local_styles_are_those_of_a_plain_loop(net: MusicStyle, t: int) -> None:
    song = torch.randn(t, 28, generator=torch.Generator().manual_seed(t))
    middles = torch.tensor([-50.0, 0.0, 11.3, 47.9, t / 2, t - 48.2, t - 1.0, t + 60.0], dtype=torch.float64)
    together = net.segment_styles(song, middles, "local")
    expected = torch.stack([loop(net, song, float(m)) for m in middles])
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-6)
    alone = torch.cat([net.segment_styles(song, middles[i : i + 1], "local") for i in range(len(middles))])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-7)


def test_the_context_is_shifted_inwards_at_the_ends(net: MusicStyle) -> None:
    song = torch.randn(200, 28, generator=torch.Generator().manual_seed(0))
    first, last = LOCAL_FRAMES / 2, 200 - LOCAL_FRAMES / 2
    for end, inner, beyond in ((first, first + 20, (0.0, 20.0)), (last, last - 20, (190.0, 250.0))):
        styles = net.segment_styles(song, torch.tensor([end, *beyond, inner]), "local")
        assert torch.equal(styles[1], styles[0]) and torch.equal(styles[2], styles[0])
        assert not torch.allclose(styles[3], styles[0])


def test_a_local_style_hears_its_context_and_nothing_else(net: MusicStyle) -> None:
    song = torch.randn(300, 28, generator=torch.Generator().manual_seed(0))
    other = song.clone()
    other[: 150 - LOCAL_FRAMES // 2] += 1
    other[150 + LOCAL_FRAMES // 2 :] -= 1
    middle = torch.tensor([150.0])
    torch.testing.assert_close(net.segment_styles(other, middle, "local"), net.segment_styles(song, middle, "local"))
    other[150] += 1
    assert not torch.allclose(net.segment_styles(other, middle, "local"), net.segment_styles(song, middle, "local"))


@pytest.mark.parametrize("t", [30, 52, 95])
def test_a_song_shorter_than_a_segment_is_all_context(net: MusicStyle, t: int) -> None:
    song = torch.randn(t, 28, generator=torch.Generator().manual_seed(0))
    styles = net.segment_styles(song, torch.tensor([0.0, t / 2, 90.0]), "local")
    torch.testing.assert_close(styles, net.song_style(song).expand(3, -1))


def test_a_window_that_is_not_finite_stays_where_it_is() -> None:
    starts = window_starts(300, STYLE_FRAMES)
    per_window = torch.ones(len(starts), 2)
    per_window[-1] = float("nan")
    means = mean_around(per_window, 300, torch.tensor([48.0, 299.0]))
    assert means[0].tolist() == [1, 1] and means[1].isnan().all()


@pytest.mark.parametrize("mode", ["windows", "legacy"])
def test_the_other_modes_give_every_segment_the_songs(
    generator: DanceGenerator, changing: np.ndarray, mode: str
) -> None:
    whole = replace(generator, style_mode=mode)
    styles = whole.segment_styles(changing, np.array([0.0, 7.0, 19.0]))
    assert all(torch.equal(row, whole.style(changing)) for row in styles)
    # To the bit what was danced when there was one style per song.
    noise = whole.draw_noise(4, torch.Generator().manual_seed(3))
    before = whole.encode_style(whole.style(changing)[None], noise).sample
    dance = dance_to(whole, changing, BEATS, 300, seed=3, warp=False)
    expected = pick_draws(before, torch.from_numpy(dance.draws)[None])[0, :, 0]
    assert np.array_equal(dance.z_dan["original"], expected.numpy())
    assert torch.equal(whole.encode(changing, noise=noise).sample, before[0, :, 0])


def test_local_dances_follow_the_song_with_the_same_noise(generator: DanceGenerator, changing: np.ndarray) -> None:
    noise = generator.draw_noise(4, torch.Generator().manual_seed(3))
    dance = dance_to(generator, changing, BEATS, 300, seed=3, warp=False)
    np.testing.assert_allclose(dance.centres_s, segment_centres_s(4).clip(max=299 / FPS))
    styles = generator.segment_styles(changing, dance.centres_s)
    assert not torch.allclose(styles[0], styles[3])
    for i, style in enumerate(styles):  # every segment alone, danced to its own style with its own noise
        own = DanceNoise(*(x[:, i : i + 1] for x in (noise.audio, noise.z_dan, noise.z_mov, noise.z_ini)))
        alone = generator.encode_style(style[None], own).sample[0, 0, dance.draws[i]]
        np.testing.assert_allclose(dance.z_dan["original"][i], alone, rtol=1e-4, atol=1e-6)
    assert np.array_equal(generator.encode(changing, noise=noise).mu[0], generator.encode_style(
        generator.segment_styles(changing, segment_centres_s(4))[None], noise).mu[0, 0, 0])  # fmt: skip


def test_strength_zero_is_the_original_to_the_bit(generator: DanceGenerator, changing: np.ndarray) -> None:
    edit = MeanShift("flow", "drive").from_means(generator.genre_means)

    def danced(strength: float, g: DanceGenerator) -> SongDance:
        return dance_to(g, changing, BEATS, 300, seed=3, edit=edit, strength=strength)

    for g in (generator, replace(generator, motion_threshold=1e9)):
        plain, none, one = dance_to(g, changing, BEATS, 300, seed=3), danced(0.0, g), danced(1.0, g)
        for version in ("original", "neutral", "target"):
            assert np.array_equal(none.poses[version], plain.poses["original"])
        assert np.array_equal(one.poses["original"], plain.poses["original"])
        shift = g.genre_means["drive"] - g.genre_means["flow"]
        moved = one.z_dan["target"] - one.z_dan["original"]
        np.testing.assert_allclose(moved, np.tile(shift, (len(moved), 1)), atol=1e-5)


def test_latents_of_whole_songs_are_the_same_under_local(generator: DanceGenerator, changing: np.ndarray) -> None:
    songs = [("a", "g", "", changing), ("b", "g", "", changing[:100])]
    for some in (songs, songs[:1]):
        local = encode_songs(generator, some, Extraction())
        whole = encode_songs(replace(generator, style_mode="windows"), some, Extraction())
        assert all(np.array_equal(x.mu, y.mu) and np.array_equal(x.draws, y.draws) for x, y in zip(local, whole))
    assert torch.equal(generator.style(changing), replace(generator, style_mode="windows").style(changing))


def test_predict_step_dances_by_segment(changing: np.ndarray) -> None:
    torch.manual_seed(0)
    module = GeneratorModule(dict(SIZES), style_mode="local").eval()
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)

    def dances(songs: torch.Tensor, mode: str) -> torch.Tensor:
        module.hparams["style_mode"] = mode
        return module.predict_step({"features": songs}, 0)

    songs = torch.from_numpy(np.stack([changing, changing[::-1]]))
    local = module.predict_step({"features": songs}, 0)
    assert local.shape == (2, 300, 28) and torch.equal(local, dances(songs, "local"))
    assert not torch.allclose(local, dances(songs, "windows"))
    calm = torch.ones(2, 300, 28)  # of one character: every segment sounds as the song
    torch.testing.assert_close(dances(calm, "local"), dances(calm, "windows"), rtol=1e-3, atol=1e-4)


# --- a song cut from two ------------------------------------------------------------------------------------------


def test_halves_are_the_first_of_one_and_the_second_of_the_other() -> None:
    a, b = np.full(4 * SAMPLE_RATE, 0.5, np.float32), np.full(6 * SAMPLE_RATE, -0.25, np.float32)
    joined, at_s = halves(a, b)
    assert joined.dtype == np.float32 and len(joined) == 5 * SAMPLE_RATE and at_s == 2
    fade = round(0.025 * SAMPLE_RATE)
    cut = 2 * SAMPLE_RATE
    assert (joined[: cut - fade - 1] == 0.5).all() and (joined[cut + fade + 1 :] == -0.25).all()
    assert np.abs(np.diff(joined)).max() < 0.01
    hard, _ = halves(a, b, fade_s=0)
    assert (hard[:cut] == 0.5).all() and (hard[cut:] == -0.25).all()
    # On the beats nearest to the middles: 1.9 s of a, and b from 3.2 s.
    ramp = np.arange(6 * SAMPLE_RATE, dtype=np.float32)
    joined, at_s = halves(a, ramp, np.array([0.4, 1.9, 3.4]), np.array([1.0, 3.2, 5.4]), fade_s=0)
    assert at_s == pytest.approx(1.9, abs=1e-4) and joined[round(1.9 * SAMPLE_RATE)] == round(3.2 * SAMPLE_RATE)
    for short in ({"a": a[:100], "b": b}, {"a": a, "b": b, "fade_s": 8.0}, {"a": a, "b": b, "fade_s": -1.0}):
        with pytest.raises(D2MError, match="too short for a fade"):
            halves(**short)


def test_each_half_of_a_song_cut_from_two_is_heard_as_itself(generator: DanceGenerator) -> None:
    """The same noise in every segment, so that only the style can tell segments apart."""
    song, at_s = halves(music(40), tone(40, SAMPLE_RATE, 3000))
    heard = features(song, generator.front_end)
    n = len(heard) // SEQUENCE_FRAMES
    one = generator.draw_noise(1, torch.Generator().manual_seed(0))
    noise = DanceNoise(*(x.expand(-1, n, *x.shape[2:]) for x in (one.audio, one.z_dan, one.z_mov, one.z_ini)))
    centres = segment_centres_s(n)
    z = {
        mode: replace(generator, style_mode=mode).encode(heard, noise=noise).sample.numpy()
        for mode in ("local", "windows")
    }
    assert np.ptp(z["windows"], axis=0).max() < 1e-5
    # Segments whose 6.4 s lie in one half: three before the cut, two after it.
    first, second = (z["local"][half] for half in (centres < at_s - 3.2, centres > at_s + 3.2))
    assert (len(first), len(second)) == (3, 2)
    within = max(np.linalg.norm(x - x.mean(0), axis=1).max() for x in (first, second))
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > 5 * within


# --- who chooses, who is told -------------------------------------------------------------------------------------


def test_a_dance_tells_how_and_as_what_its_music_was_heard(tiny_bundle: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", halves(music(20), tone(20, SAMPLE_RATE, 3000))[0], SAMPLE_RATE)
    request = {
        "bundle": str(tiny_bundle), "music": str(tmp_path / "song.wav"), "seed": 0, "warp": True, "video": False,
        "device": "cpu", "z_dan": None, "edit": {"name": None}, "batch": None, "devices": 1, "state": None,
        "export": [], "lift": "flat", "export_fps": 30,
    }  # fmt: skip
    told = {}
    for mode in (None, "local"):
        out = tmp_path / str(mode)
        infer(OmegaConf.create({**request, "out": str(out), "style_mode": mode}))
        told[mode] = json.loads((out / "song.json").read_text())
    assert told[None]["style_mode"] == "windows" and told["local"]["style_mode"] == "local"
    segments = told["local"]["music_style_by_segment"]
    assert segments == told[None]["music_style_by_segment"] and len(segments) == len(told["local"]["draws"])
    assert all(sum(s["genres"].values()) == pytest.approx(1, abs=1e-5) for s in segments)
    assert segments[0]["genres"].keys() == told["local"]["music_style"].keys() == {"flow", "groove", "drive"}
    centres = [s["centre_s"] for s in segments]
    assert centres == sorted(centres) and segments[0]["genres"] != segments[-1]["genres"]
    with pytest.raises(D2MError, match="style_mode=global: no such mode; choose from windows, legacy, local"):
        infer(OmegaConf.create({**request, "out": str(tmp_path / "out"), "style_mode": "global"}))
    assert not (tmp_path / "out").exists()


def test_a_bundle_keeps_its_mode_and_refuses_one_that_is_unknown(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Dancer.load(tiny_bundle).generator.style_mode == "windows"
    assert Dancer.load(tiny_bundle, style_mode="legacy").generator.style_mode == "legacy"
    with pytest.raises(D2MError, match="style_mode=Local"):
        Dancer.load(tiny_bundle, style_mode="Local")
    a = read_bundle(tiny_bundle)

    def write(mode: str) -> Path:
        config = {**{k: v for k, v in a.config.items() if k != "format"}, "style_mode": mode}
        return write_bundle(
            tmp_path / mode, config=config, state=a.state, normalizer=a.normalizer, genres=a.genres,
            genre_means=a.genre_means, provenance={}, card="",
        )  # fmt: skip

    assert DanceGenerator.load(write("local")).style_mode == "local"
    with pytest.raises(D2MError, match="style_mode=later"):
        write("later")
    with monkeypatch.context() as newer:  # as a later d2m would write it
        newer.setattr(bundle_format, "check_style_mode", lambda mode: mode)
        later = write("later")
    with pytest.raises(D2MError, match=r"config\.json: style_mode=later: no such mode; .*; update d2m"):
        read_bundle(later)
