"""The music style network's body and heads: statistics of any length, tempo beside genre, songs in their octave."""

from __future__ import annotations

import math

import numpy as np
import torch

from d2m.nets.blocks import StatisticsEncoder
from d2m.stats.within import octaves
from d2m.train.modules.music_style import MusicStyleModule
from tests.conftest import SIZES

NAN = math.nan


def module(**options: object) -> MusicStyleModule:
    torch.manual_seed(0)
    return MusicStyleModule({**SIZES, "style_network": "statistics"}, **options)  # type: ignore[arg-type]


def some_music(b: int = 4) -> torch.Tensor:
    return torch.randn(b, 30, 28, generator=torch.Generator().manual_seed(1))


def loss(m: MusicStyleModule, **more: torch.Tensor) -> torch.Tensor:
    noise = m.draw_noise(some_music(), torch.Generator().manual_seed(2))
    return m.loss(some_music(), torch.tensor([0, 1, 2, 0]), noise, **more)


# --- statistics ----------------------------------------------------------------------------------------------


def test_it_reads_mean_and_deviation_at_any_length() -> None:
    body = StatisticsEncoder(5, 10)
    with torch.no_grad():
        body.linear.weight.copy_(torch.eye(10))
        body.linear.bias.zero_()
    for t in (2, 30, 96):
        x = 0.5 * torch.randn(3, t, 5)
        read = body(x).atanh()
        torch.testing.assert_close(read, torch.cat([x.mean(1), x.std(1, correction=0)], -1), atol=1e-4, rtol=1e-4)


def test_a_column_that_stands_still_has_a_finite_gradient() -> None:
    x = torch.randn(2, 30, 5)
    x[..., 0] = 3.0
    x.requires_grad_()
    StatisticsEncoder(5, 7)(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad[..., 1:].any()


# --- heads ---------------------------------------------------------------------------------------------------


def test_songs_of_unknown_tempo_do_not_count() -> None:
    m = module(tempo=1.0)
    genre_alone = loss(m)
    tempo = torch.tensor([NAN, 0.5, NAN, NAN])
    total = loss(m, tempo=tempo)
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters())
    assert m.tempo_head is not None and m.tempo_head.weight.grad.any()
    one = (m.tempo_head(m.net.style(some_music()))[1, 0] - 0.5).square()
    torch.testing.assert_close(total, genre_alone + one)
    torch.testing.assert_close(loss(m, tempo=torch.full((4,), NAN)), genre_alone)


def test_a_song_at_another_tempo_says_nothing_of_its_genre() -> None:
    m = module()
    rate = torch.tensor([0.0, math.log2(1.2), -math.log2(1.05), 0.0])
    logits = m.net(some_music())[[0, 3]]
    torch.testing.assert_close(loss(m, rate=rate), torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0])))
    assert loss(m, rate=torch.ones(4)) == 0


def test_without_weight_there_is_no_tempo_head() -> None:
    """Checkpoints that are older than it load."""
    assert module().tempo_head is None
    module().load_state_dict({k: v for k, v in module(tempo=1.0).state_dict().items() if "tempo_head" not in k})


# --- octaves -------------------------------------------------------------------------------------------------


def test_tempi_are_read_in_the_octave_of_their_genre() -> None:
    bpm = [100.0, 110.0, 220.0, 52.0, NAN, 180.0, 90.0, 184.0, 177.0, NAN]
    group = ["a", "a", "a", "a", "a", "b", "b", "b", "b", "c"]
    folded = 2 ** octaves(bpm, group)
    np.testing.assert_allclose(folded, [100, 110, 110, 104, NAN, 180, 180, 184, 177, NAN])
