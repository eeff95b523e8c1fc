"""Songs, versions and draws danced together: what each dances is its own, to the bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from d2m.core.ahead import ahead
from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.lines import ROWS, by_rows
from d2m.dance.song_dance import SongDance
from d2m.dance.stream import MAX_ROWS, SongRequest, rows_for, rows_together
from d2m.dance.together import dance_again, dance_all, dance_stream, dance_to
from d2m.data.normalizer import Normalizer
from d2m.edits.mean_shift import MeanShift
from d2m.edits.strength import Schedule
from d2m.nets.composition import Composition
from d2m.nets.sizes import Sizes

SIZES = Sizes(
    n_genres=3, z_ini=10, z_mov=48, z_dan=64, movement_hidden=8, unit_hidden=96, dance_encoder_hidden=8,
    dance_decoder_hidden=64,
)  # fmt: skip
FRAMES = (150, 300, 97, 220, 60)


@pytest.fixture(scope="module")
def generator() -> DanceGenerator:
    """Widths at which matrix products of few rows give other bits; half of the draws move too little."""
    torch.manual_seed(0)
    net = Composition(SIZES).eval().requires_grad_(False)
    normal = Normalizer(*(np.full(28, v, np.float32) for v in (0, 1, 0, 1)))
    found = DanceGenerator(net, normal, ("a", "b", "c"), max_draws=4, style_mode="local")
    rng = np.random.default_rng(0)
    found.genre_means = {g: rng.normal(size=64).astype(np.float32) for g in found.genres}
    units = [d.unwarped["original"][:96].reshape(3, 32, 28) for d in dance_all(found, songs(found)[:4], rows=8)]
    found.motion_threshold = float(np.median(np.abs(np.diff(np.concatenate(units), axis=1)).sum((1, 2))))
    return found


def songs(generator: DanceGenerator, edited: bool = True) -> list[SongRequest]:
    """Five songs of different lengths; two of them edited, one with strength 0."""
    edit = MeanShift("a", "b").from_means(generator.genre_means)
    asked = []
    for i, t in enumerate(FRAMES):
        features = np.random.default_rng(i).normal(size=(t, 28)).astype(np.float32)
        strength = 0.0 if i == 3 else 1.0
        own = edit if i in (1, 3) and edited else None
        asked.append(SongRequest(features, np.arange(0.3, t / 15, 0.5), t, i, own, strength, warp=i != 2))
    return asked


@pytest.fixture(scope="module")
def together(generator: DanceGenerator) -> list[SongDance]:
    return dance_all(generator, songs(generator), rows=16)


def assert_same(a: SongDance, b: SongDance) -> None:
    for name in ("poses", "unwarped", "z_dan"):
        mine, other = getattr(a, name), getattr(b, name)
        assert mine.keys() == other.keys()
        for version in mine:
            assert np.array_equal(mine[version], other[version]), (name, version)
    for name in ("draws", "accepted", "centres_s", "music_votes", "music_votes_by_segment"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize("rows", [2, 8, 24])
def test_a_song_dances_the_same_bits_in_any_company(
    generator: DanceGenerator, together: list[SongDance], rows: int
) -> None:
    assert max(d.draws.max() for d in together) > 1, "draws must have been rejected"
    for a, b in zip(together, dance_all(generator, songs(generator), rows=rows), strict=True):
        assert_same(a, b)


def test_a_song_dances_the_same_bits_in_any_order_and_alone(
    generator: DanceGenerator, together: list[SongDance]
) -> None:
    backwards = dance_all(generator, songs(generator)[::-1], rows=3)
    for a, b in zip(together, backwards[::-1], strict=True):
        assert_same(a, b)
    assert_same(together[1], dance_all(generator, songs(generator)[1:2], rows=3)[0])


def test_one_by_one_is_each_alone_and_differs_by_rounding(generator: DanceGenerator, together: list[SongDance]) -> None:
    for request, a, b in zip(
        songs(generator), together, dance_all(generator, songs(generator), rows=1), strict=True
    ):  # fmt: skip
        assert_same(b, dance_all(generator, [request], rows=1)[0])
        assert np.array_equal(a.draws, b.draws)
        for version in a.poses:
            np.testing.assert_allclose(a.poses[version], b.poses[version], atol=1e-4)


@pytest.mark.parametrize("rows", [1, 16])
def test_strength_zero_and_no_edit_are_the_original(generator: DanceGenerator, rows: int) -> None:
    edited = dance_all(generator, songs(generator), rows=rows)
    plain = dance_all(generator, songs(generator, edited=False), rows=rows)
    for a, b in zip(edited, plain, strict=True):
        assert np.array_equal(a.poses["original"], b.poses["original"])
    assert set(edited[3].poses) == {"original", "neutral", "target"}
    for version in ("neutral", "target"):
        assert np.array_equal(edited[3].poses[version], edited[3].poses["original"])
        assert not np.array_equal(edited[1].poses[version], edited[1].poses["original"])


@pytest.mark.parametrize("rows", [1, 16])
def test_a_schedule_that_begins_with_zero_begins_with_the_original(generator: DanceGenerator, rows: int) -> None:
    asked = songs(generator)
    asked[1] = replace(asked[1], strength=Schedule((4.0, 12.0), (0.0, 1.0)))  # segments of 6.4 s, read in the middle
    danced = dance_all(generator, asked, rows=rows)[1].unwarped
    assert np.array_equal(danced["target"][:96], danced["original"][:96])
    assert not np.array_equal(danced["target"][96:192], danced["original"][96:192])


@pytest.mark.parametrize("rows", [1, 16])
def test_latents_fed_back_dance_the_same_bits(generator: DanceGenerator, rows: int) -> None:
    """Draws that were rejected are decoded as those that were not."""
    dance = dance_all(generator, songs(generator)[1:2], rows=rows)[0]
    again = dance_again(generator, dance, np.stack(list(dance.z_dan.values())), seed=1, rows=rows)
    for k, version in enumerate(dance.z_dan):
        assert np.array_equal(again.unwarped[k], dance.unwarped[version])
        assert np.array_equal(again.poses[k], dance.poses[version])


def test_the_first_draw_that_moves_is_taken_else_the_liveliest(generator: DanceGenerator) -> None:
    request = songs(generator)[0]
    frozen = dance_all(replace(generator, motion_threshold=1e9), [request], rows=16)[0]
    assert not frozen.accepted.any() and frozen.draws.any()
    free = dance_all(replace(generator, motion_threshold=0.0), [request], rows=16)[0]
    assert free.accepted.all() and not free.draws.any()


def test_a_request_that_fails_does_not_end_the_others(generator: DanceGenerator) -> None:
    good = songs(generator)
    bad = [
        replace(good[0], z_dan=np.zeros(3)), replace(good[1], edit=MeanShift("a", "polka")),
        replace(good[2], features=good[2].features[:20]), replace(good[0], edit=3),
    ]  # fmt: skip
    found = dict(dance_stream(generator, [*good, *bad], rows=16))
    assert [isinstance(found[i], D2MError) for i in range(9)] == [False] * 5 + [True] * 4
    for i, word in zip(range(5, 9), ("z_dan", "polka", "2 s", "edit=3: not an edit"), strict=True):
        assert word in str(found[i])
    with pytest.raises(D2MError, match="z_dan"):
        dance_all(generator, bad[:1])
    with pytest.raises(D2MError, match="edit=3"):
        dance_to(generator, good[0].features, good[0].music_beats, 150, seed=0, edit=3)


def test_songs_are_asked_for_as_rows_get_free(generator: DanceGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def requests(n: int) -> Sequence[SongRequest]:
        for i in range(n):
            asked.append(i)
            yield replace(songs(generator, edited=False)[4], seed=i)  # type: ignore[misc]

    stream = dance_stream(generator, requests(9), rows=4)
    next(stream)
    assert len(asked) == 4
    assert sorted(i for i, _ in stream) == list(range(1, 9))
    monkeypatch.setattr("d2m.dance.together.MEMORY", 1)  # no more than one song at a time
    asked.clear()
    stream = dance_stream(generator, requests(3), rows=4)
    next(stream)
    assert len(asked) == 1 and len(list(stream)) == 2


def test_rows_follow_memory_and_songs() -> None:
    assert rows_together(SIZES) == MAX_ROWS
    wide = replace(SIZES, unit_hidden=20_000)
    assert rows_together(wide) == ROWS
    assert [rows_for(n, SIZES) for n in (1, 5, 6)] == [1, 1, MAX_ROWS] and rows_for(1, SIZES, 7) == 7


@pytest.mark.parametrize("m", [1, 5, 8, 9])
def test_rows_are_padded_and_cut(m: int) -> None:
    seen = []
    x = torch.randn(m, 3)
    out = by_rows(lambda rows: seen.append(len(rows)) or 2 * rows, x)
    assert torch.equal(out, 2 * x) and seen[0] % ROWS == 0 and 0 <= seen[0] - m < ROWS


def test_work_ahead_keeps_order_and_room() -> None:
    done: list[int] = []

    def work(i: int) -> int:
        time.sleep(0.002 * (7 - i % 7))  # later items are done first
        done.append(i)
        return i

    results = ahead(work, range(30), lambda _: 1, 3)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(done) <= 1 + 3 + 4 + 1, "no further ahead than there is room and threads"
    assert list(results) == list(range(1, 30))

    def fails(i: int) -> int:
        if i == 2:
            raise D2MError("two")
        return i

    results = ahead(fails, range(5), lambda _: 1, 1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(D2MError, match="two"):
        next(results)
