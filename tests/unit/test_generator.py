"""The test phase: seeds, shared noise, redraws, lengths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from d2m.core.errors import D2MError
from d2m.dance.clock import dance_pulse, segments_needed
from d2m.dance.generator import DanceGenerator
from d2m.dance.lines import motion
from d2m.dance.noise import DanceNoise
from d2m.dance.song_dance import fit_z_dan
from d2m.dance.together import dance_to
from d2m.edits.mean_shift import MeanShift

BEATS = np.arange(0.3, 10, 0.5)


@pytest.fixture
def generator(tiny_bundle: Path) -> DanceGenerator:
    return DanceGenerator.load(tiny_bundle)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_encode_and_decode(generator: DanceGenerator, song_features: np.ndarray) -> None:
    z = generator.encode(song_features, seeded(0))
    again = generator.encode(song_features, seeded(0))
    other = generator.encode(song_features, seeded(1))
    assert z.mu.shape == z.logvar.shape == z.sample.shape == (2, 8)
    assert torch.equal(z.sample, again.sample) and not torch.equal(z.sample, other.sample)
    poses = generator.decode(z.sample, 150, seeded(0))
    assert poses.shape == (150, 14, 2) and poses.dtype == torch.float32
    assert torch.equal(poses, generator.decode(z.sample, 150, seeded(0)))


@pytest.mark.parametrize("z", [torch.zeros(1, 8), torch.zeros(2, 7), torch.zeros(8)])
def test_decode_refuses_what_does_not_fit(generator: DanceGenerator, z: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="z_dan"):
        generator.decode(z, 150, seeded(0))


def test_songs_danced_together_are_the_songs_danced_alone(generator: DanceGenerator) -> None:
    noise = [generator.draw_noise(3, seeded(s)) for s in (0, 1)]
    z = torch.randn(2, 3, 4, 8, generator=seeded(2))
    threshold = float(
        motion(
            generator.choreograph(z[:, :, :1], both(noise).pick(torch.zeros(2, 3).long())).poses.view(2, 9, 32, 28)
        ).median()
    )
    together = generator.choreograph(z, both(noise), threshold)
    for i in range(2):
        alone = generator.choreograph(z[i : i + 1], noise[i], threshold)
        torch.testing.assert_close(together.poses[i : i + 1], alone.poses, rtol=1e-4, atol=1e-5)
        assert torch.equal(together.draws[i : i + 1], alone.draws)
    assert together.draws.max() > 0, "the threshold must have caused a redraw"


def both(noise: list[DanceNoise]) -> DanceNoise:
    return DanceNoise(*(torch.cat([getattr(n, k) for n in noise]) for k in ("audio", "z_dan", "z_mov", "z_ini")))


def test_redraw_takes_the_first_that_moves_else_the_liveliest(generator: DanceGenerator) -> None:
    noise = generator.draw_noise(1, seeded(0))
    z = torch.randn(1, 1, 4, 8, generator=seeded(3))
    lively = torch.stack(
        [
            motion(
                generator.choreograph(z[:, :, k : k + 1], noise.pick(torch.tensor([[k]]))).poses.view(3, 32, 28)
            ).min()
            for k in range(4)
        ]
    )
    order = lively.sort().values
    between = float((order[1] + order[2]) / 2)
    some = generator.choreograph(z, noise, between)
    assert some.draws.item() == int((lively >= between).int().argmax()) and bool(some.accepted)
    none = generator.choreograph(z, noise, float(order[-1]) + 1)
    assert none.draws.item() == int(lively.argmax()) and not bool(none.accepted)


def test_longer_songs_begin_with_the_same_draws(generator: DanceGenerator) -> None:
    short, long = generator.draw_noise(2, seeded(0)), generator.draw_noise(5, seeded(0))
    assert torch.equal(short.z_mov, long.z_mov[:, :2])


@pytest.mark.parametrize("n_frames", [30, 95, 96, 97, 150])
@pytest.mark.parametrize("warp", [True, False])
@pytest.mark.parametrize("beats", [BEATS, BEATS[:1], BEATS[:0], np.arange(0.1, 10, 0.25)])
def test_length_is_exact(
    generator: DanceGenerator, song_features: np.ndarray, n_frames: int, warp: bool, beats: np.ndarray
) -> None:
    dance = dance_to(generator, song_features, beats, n_frames, seed=0, warp=warp)
    assert dance.poses["original"].shape == (n_frames, 14, 2)
    assert np.isfinite(dance.poses["original"]).all()
    assert (np.diff(dance.dance_beats) > 0).all() and (dance.dance_beats <= n_frames / 15).all()


def test_dance_beats_fall_on_the_musics(generator: DanceGenerator, song_features: np.ndarray) -> None:
    dance = dance_to(generator, song_features, BEATS, 150, seed=0)
    inside = BEATS[BEATS < 149 / 15]
    gaps = np.abs(dance.dance_beats[:, None] - inside[None]).min(0)
    np.testing.assert_allclose(gaps, 0, atol=1e-6)


def test_strength_zero_is_the_original_to_the_bit(generator: DanceGenerator, song_features: np.ndarray) -> None:
    lively = replace(generator, motion_threshold=1e9)  # every segment falls back: draws differ from the first
    edit = MeanShift("flow", "drive").from_means(generator.genre_means)
    for g in (generator, lively):
        dance = dance_to(g, song_features, BEATS, 150, seed=3, edit=edit, strength=0.0)
        assert np.array_equal(dance.poses["target"], dance.poses["original"])
        assert np.array_equal(dance.poses["neutral"], dance.poses["original"])
        plain = dance_to(g, song_features, BEATS, 150, seed=3)
        assert np.array_equal(plain.poses["original"], dance.poses["original"])


def test_an_edit_moves_the_latent_by_the_means(generator: DanceGenerator, song_features: np.ndarray) -> None:
    edit = MeanShift("flow", "drive").from_means(generator.genre_means)
    dance = dance_to(generator, song_features, BEATS, 150, seed=3, edit=edit)
    shift = generator.genre_means["drive"] - generator.genre_means["flow"]
    np.testing.assert_allclose(
        dance.z_dan["target"] - dance.z_dan["original"], np.tile(shift, (len(dance.draws), 1)), atol=1e-5
    )
    assert not np.allclose(dance.poses["target"], dance.poses["original"])


def test_a_latent_fed_back_gives_the_dance(generator: DanceGenerator, song_features: np.ndarray) -> None:
    first = dance_to(generator, song_features, BEATS, 150, seed=3)
    fed = dance_to(generator, song_features, BEATS, 150, seed=3, z_dan=first.z_dan["original"])
    np.testing.assert_allclose(fed.poses["original"], first.poses["original"], atol=1e-3)


def test_fit_z_dan() -> None:
    assert fit_z_dan(np.zeros(8), 3, 8).shape == (3, 8)
    assert fit_z_dan(np.zeros((5, 8)), 3, 8).shape == (3, 8)
    for bad in (np.zeros((2, 8)), np.zeros(7), np.zeros((1, 3, 8)), np.full(8, np.nan)):
        with pytest.raises(D2MError, match="z_dan"):
            fit_z_dan(bad, 3, 8)


def test_the_pulse_is_one_a_dancer_steps_to() -> None:
    for period in (0.2, 0.35, 0.5, 0.7, 0.9, 1.4):
        beats = 0.1 + period * np.arange(20)
        pulse = np.median(np.diff(dance_pulse(beats)))
        assert 0.34 < pulse < 0.81
        assert np.log2(pulse / period) == pytest.approx(round(np.log2(pulse / period)))
    assert len(dance_pulse(np.array([1.0]))) == 1


def test_segments_follow_the_tempo() -> None:
    slow, fast = np.arange(0, 60, 0.7), np.arange(0, 60, 0.4)
    assert segments_needed(slow, 900, True) < segments_needed(slow[:0], 900, False) < segments_needed(fast, 900, True)


def test_noise_without_a_generator_leaves_the_global_one_alone(
    generator: DanceGenerator, song_features: np.ndarray
) -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    one, other = generator.encode(song_features), generator.encode(song_features)
    assert torch.equal(torch.randn(3), expected) and not torch.equal(one.sample, other.sample)
    generator.decode(one.sample, 150)
    assert torch.initial_seed() == 5


def test_legacy_style_is_the_state_after_the_song(generator: DanceGenerator, song_features: np.ndarray) -> None:
    legacy = replace(generator, style_mode="legacy")
    expected = generator.net.music_style.style(generator.normalize_features(song_features)[None])[0]
    torch.testing.assert_close(legacy.style(song_features), expected)
    assert not torch.allclose(generator.style(song_features), expected)
