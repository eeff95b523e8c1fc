"""Protocol cards: real dances score at the floor, worse ones above it, mixed kinds are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from bodies import STANDING

from d2m.core.errors import D2MError
from d2m.metrics.against_real import Rows, distance_figures
from d2m.metrics.cards import Card, Table, card_names, load_card
from d2m.metrics.distances import frechet_distance, kernel_distance, song_halves
from d2m.metrics.figure import DanceToSong, SongDraws
from d2m.metrics.measure import Reference, measure

#: Few draws: what is tested here does not depend on how many.
D2M, FACT, BAILANDO = (
    replace(load_card(c), halves=8, shifts=30, bootstrap=30) for c in ("d2m", "fact-14", "bailando-14")
)
GENRES = ("calm", "wild")
PROJECTION = np.random.default_rng(9).normal(size=(32 * 28, 6)) / 30


def embed(poses: np.ndarray) -> np.ndarray:
    flat = np.asarray(poses).reshape(len(poses), -1) / 50
    n = (len(flat) - 32) // 16 + 1
    return np.stack([flat[16 * k : 16 * k + 32].ravel() for k in range(n)]) @ PROJECTION


def dance(song: int, draw: int = 0, seconds: float = 12.0, size: float = 1.0, late: float = 0.0) -> DanceToSong:
    """Every joint swings to the music, the wilder genre further; it stops on every beat, if not late."""
    rng = np.random.default_rng([song, draw])
    genre = GENRES[song % 2]
    period = 0.5 + 0.02 * song
    beats = np.arange(0.3, seconds, period)
    t = np.arange(round(seconds * 15)) / 15
    swing = np.cos(np.pi * (t - 0.3 - late) / period)
    slow = np.sin(2 * np.pi * t / rng.uniform(3, 5) + rng.uniform(0, 6))
    reach = (4.0, 12.0)[song % 2] * rng.uniform(0.5, 1, (2, 14, 2))
    poses = size * (STANDING + swing[:, None, None] * reach[0] + 0.3 * slow[:, None, None] * reach[1])
    features = np.stack([np.floor(t / period / 4) % 3 == k for k in range(3)], axis=1) + 0.1 * rng.normal(
        size=(len(t), 3)
    )
    return DanceToSong(f"song {song}", genre, poses, 15.0, beats, features)


REAL = [dance(s) for s in range(8)]
DRAWN = [dance(s, draw) for s in range(8) for draw in (1, 2)]
NAMES = {
    "d2m": {
        "fid", "fid_floor", "kid", "diversity", "multimodality", "beat_coverage", "beat_hit", "beat_f",
        "beat_hit_unwarped", "repetition", "jerk_ratio", "energy_ratio", "frozen_share", "bone_drift",
        "bone_range_worst", "bone_range_mean", "boundary_jump", "canvas_escape",
    },
    "fact-14": {"fid_k", "fid_k_floor", "kid_k", "dist_k", "fid_g", "fid_g_floor", "kid_g", "dist_g", "beat_align"},
}  # fmt: skip
NAMES["bailando-14"] = NAMES["fact-14"]


@pytest.mark.parametrize("card", [D2M, FACT, BAILANDO], ids=lambda c: c.name)
def test_the_real_row_sits_at_the_floor_and_has_the_best_values(card: Card) -> None:
    real = measure(card, REAL, REAL, embed)
    assert set(real) == NAMES[card.name] == set(measure(card, REAL[:2], REAL[:2]))
    for name in (n for n in real if n.startswith("fid") and not n.endswith("floor")):
        floor = real[f"{name}_floor"]
        assert real[name].value == real[name].chance == floor.value and floor.low <= floor.value <= floor.high
        assert real[name].n == floor.n and real[name].low <= real[name].value <= real[name].high
        assert "samples a side" in real[name].note
    for name in ("jerk_ratio", "energy_ratio") if card is D2M else ():
        assert real[name].value == 1
    for name in ("bone_range_worst", "canvas_escape") if card is D2M else ():
        assert real[name].value == 0


def test_dances_that_are_worse_score_worse() -> None:
    good, bad = measure(D2M, DRAWN, REAL, embed), measure(D2M, [dance(s, 1, size=1.6) for s in range(8)], REAL, embed)
    for name in ("fid", "kid", "canvas_escape", "bone_range_worst"):
        assert bad[name].value > good[name].value, name
    assert bad["fid"].value > 3 * bad["fid"].chance > 0 and bad["fid"].low > bad["fid"].chance
    assert bad["energy_ratio"].value > 2 > good["energy_ratio"].value
    still = [replace(d, poses=np.repeat(d.poses[:1], len(d.poses), 0)) for d in REAL]
    frozen = measure(D2M, still, REAL, embed)
    assert frozen["frozen_share"].value == 1 and frozen["energy_ratio"].value == 0 and frozen["diversity"].value > 0
    assert np.isnan(frozen["beat_hit"].value) and frozen["beat_coverage"].value == 0


def test_one_song_per_genre_has_no_interval_rather_than_one_without_width() -> None:
    assert len(SongDraws(["a", "a", "b"], ["a", "b"], 5, 0, paired=False).draws) == 5
    alone = SongDraws(["a", "b"], ["a", "a", "b"], 5, 0, paired=False).interval(lambda a, b: 1.0)
    assert np.isnan([alone.low, alone.high]).all()


def test_halves_are_of_songs_with_as_many_samples_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    songs, genres = [f"{i}" for i in range(6)], ["a"] * 6
    real = Rows(songs, genres, [rng.normal(size=(10 + i, 3)) for i in range(6)])
    made = Rows(songs, genres, [1 + rng.normal(size=(30, 3)) for i in range(6)])
    found = distance_figures(made, real, 9, 20, 5, "")
    fid, floor, kid = [], [], []
    for a, b in song_halves(songs, genres, 9, 5):
        first, second = (np.concatenate([real.features[i] for i in h]) for h in (a, b))
        other = np.concatenate([made.features[i][: 10 + i] for i in b])
        assert len(other) == len(second)
        fid.append(frechet_distance(first, other))
        floor.append(frechet_distance(first, second))
        kid.append(kernel_distance(first, other))
    assert found["fid"].value == pytest.approx(np.median(fid))
    assert found["fid"].chance == pytest.approx(np.median(floor)) == found["fid_floor"].value
    assert found["kid"].value == pytest.approx(np.median(kid))


def test_beats_on_the_music_are_above_chance_and_late_ones_are_not() -> None:
    on, late = measure(D2M, REAL, REAL), measure(D2M, [dance(s, late=0.2) for s in range(8)], REAL)
    for name in ("beat_hit", "beat_f"):
        assert on[name].value > 0.9 and on[name].z > 3 and on[name].chance < 0.5
        assert late[name].value < 0.1
    assert on["beat_coverage"].value == pytest.approx(1, abs=0.1) and on["beat_coverage"].chance is None
    for card in (FACT, BAILANDO):
        found = measure(card, REAL, REAL)["beat_align"]
        assert found.value > 0.9 and found.z > 3 and 0 <= found.low <= found.value <= found.high <= 1


def test_dances_as_decoded_are_reported_beside() -> None:
    decoded = [replace(d, unwarped=np.roll(d.poses, 4, axis=0)) for d in REAL]
    found = measure(D2M, decoded, REAL)
    assert found["beat_hit_unwarped"].value < 0.2 and "expected at chance" in found["beat_hit_unwarped"].note
    assert found["boundary_jump"].value > 0 and found["boundary_jump"].n == 8


def test_what_cannot_be_measured_says_why() -> None:
    bare = [DanceToSong(d.song, d.genre, d.poses, 15.0) for d in REAL]
    found = measure(D2M, bare, REAL)
    for name, why in {
        "fid": "no motion classifier", "multimodality": "no motion classifier", "beat_hit": "no beats",
        "boundary_jump": "as decoded", "repetition": "no music features",
    }.items():  # fmt: skip
        assert np.isnan(found[name].value) and found[name].n == 0 and why in found[name].note
    assert "one draw" in measure(D2M, REAL, REAL, embed)["multimodality"].note
    assert measure(D2M, DRAWN, REAL, embed)["multimodality"].value > 0
    alone = measure(D2M, REAL[:1], REAL[:1], embed)
    assert (
        "two or more" in alone["fid"].note and "one song" in alone["diversity"].note and alone["beat_hit"].low is None
    )


def test_repetition_sees_a_dance_that_follows_the_form_of_its_music() -> None:
    d = dance(1, seconds=40.0)
    theme = np.random.default_rng(3).normal(size=(3, 14, 2))
    on_form = d.poses + 30 * np.einsum("tf,fjc->tjc", np.asarray(d.music_features), theme)
    follows = measure(D2M, [replace(d, poses=on_form)], [d])["repetition"]
    assert follows.value > 0.5 and follows.z > 3 and abs(follows.chance) < 0.2
    assert follows.value > measure(D2M, [d], [d])["repetition"].value


def test_zoom_shift_and_the_order_of_songs_change_nothing() -> None:
    def numbers(dances: list[DanceToSong], real: list[DanceToSong], card: Card) -> dict[str, float]:
        names = set(NAMES[card.name]) - ({"canvas_escape"} if card is D2M else set())
        return {k: f.value for k, f in measure(card, dances, real, seed=1).items() if k in names}

    def moved(dances: list[DanceToSong]) -> list[DanceToSong]:
        return [replace(d, poses=3 * np.asarray(d.poses) + 100) for d in dances]

    backwards = sorted(DRAWN, key=lambda d: d.song, reverse=True)
    for card in (D2M, FACT):
        plain = numbers(DRAWN, REAL, card)
        assert numbers(backwards, REAL[::-1], card) == pytest.approx(plain, nan_ok=True)
        assert numbers(moved(DRAWN), moved(REAL), card) == pytest.approx(plain, nan_ok=True, rel=1e-6)


def test_dances_are_cropped_and_resampled_as_the_card_says() -> None:
    longer = [dance(s, seconds=25.0) for s in range(4)]
    cut = [replace(d, poses=d.poses[:301], music_beats=d.music_beats[d.music_beats < 20]) for d in longer]
    a, b = measure(FACT, longer, REAL), measure(FACT, cut, REAL)
    assert {k: f.value for k, f in a.items()} == pytest.approx({k: f.value for k, f in b.items()}, rel=0.02)
    assert longer[0].at(60, 20).poses.shape == (1200, 14, 2)
    at = longer[0].at(60, None).poses
    np.testing.assert_allclose(at[::4], longer[0].poses, atol=1e-9)


def broken(**change: object) -> list[DanceToSong]:
    return [*REAL[:-1], replace(REAL[-1], **change)]


@pytest.mark.parametrize(
    ("dances", "why"),
    [
        ([], "no dances"),
        (broken(poses=REAL[7].poses[:0]), "song 7: a dance of 0 frames"),
        (broken(poses=REAL[7].poses[:1]), "song 7: a dance of 1 frames"),
        (broken(poses=REAL[7].poses[:31]), "song 7: a dance of 31 frames; this card needs 32"),
        (broken(poses=REAL[7].poses * np.nan), "song 7: poses has gaps"),
        (broken(poses=np.zeros((99, 14, 2))), "song 7: the poses have no torso"),
        (broken(poses=np.ones((99, 14, 3))), "give \\(t, 14, 2\\)"),
        (broken(unwarped=np.ones((99, 28))), "song 7: unwarped of shape"),
        (broken(music_features=np.ones(9)), "song 7: music_features of shape"),
        (broken(music_beats=np.array([np.inf])), "song 7: the music's beats"),
        (broken(fps=0.0), "song 7: 0.0 frames per second"),
        (broken(song="song 6"), "song 6: dances to one song are of genres calm, wild"),
    ],
)  # fmt: skip
def test_wrong_dances_give_one_line_that_names_the_song(dances: list[DanceToSong], why: str) -> None:
    with pytest.raises(D2MError, match=why) as e:
        measure(D2M, dances, REAL)
    assert "\n" not in str(e.value)


def test_a_classifier_of_other_windows_is_refused() -> None:
    with pytest.raises(D2MError, match="32 frames every 16"):
        measure(D2M, REAL, REAL, lambda p: embed(p)[::2])


def test_foot_contact_wants_feet() -> None:
    edge = load_card("edge")
    with pytest.raises(D2MError, match="3-D poses with toes"):
        measure(edge, REAL, REAL)
    feet = np.cumsum(np.random.default_rng(0).normal(size=(180, 5, 3)), axis=0) / 100
    found = measure(edge, [replace(d, feet=feet) for d in REAL], REAL)
    assert set(found) == {"pfc"} and found["pfc"].value > 0 and found["pfc"].n == 8


def test_one_table_holds_one_card() -> None:
    table = Table()
    real = measure(D2M, REAL, REAL)
    table.add("real", real)
    assert table.card == D2M and table.rows["real"]["fid"] is real["fid"]
    with pytest.raises(D2MError, match=r"card fact-14.*card d2m.*each card"):
        table.add("other card", measure(FACT, REAL, REAL))
    with pytest.raises(D2MError, match="differ in tolerance_s"):
        table.add("other pin", measure(replace(D2M, tolerance_s=0.1), REAL, REAL))
    with pytest.raises(D2MError, match="do not say by which card"):
        table.add("loose", dict(real))  # type: ignore[arg-type]
    with pytest.raises(D2MError, match="in the table already"):
        table.add("real", real)
    assert list(table.rows) == ["real"]


def test_cards_are_whole_and_shown(tmp_path: Path) -> None:
    assert card_names() == ["bailando-14", "d2m", "edge", "fact-14"]
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in card_names():
        assert load_card(name).name == name and f"## Card `{name}`" in page
    for figure in NAMES["d2m"] | NAMES["fact-14"] | {"pfc"}:
        assert f"`{figure}`" in page, f"docs/metrics.md does not say what {figure} is"
    with pytest.raises(D2MError, match="no card 'fid'; choose from bailando-14"):
        load_card("fid")
    text = (Path(__file__).parents[2] / "conf" / "metric" / "d2m.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    for bad, why in (
        (text.replace("shifts:", "shift:"), "unknown: shift; missing: shifts"),
        (text.replace("beats: lee", "beats: lea"), "beats is 'lea'; choose from"),
        (text.replace("halves: 50", "halves: 0"), "halves is 0"),
        (text.replace("tolerance_s: 0.07", "tolerance_s: null"), "tolerance_s is None"),
        ("- a list", "not a card"), ("a: [", "not a readable card"),
    ):  # fmt: skip
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(D2MError, match=why):
            load_card(path)
    path.write_text(text.replace("0.07", "0.1"), encoding="utf-8")
    assert {f.name for f in fields(Card) if getattr(load_card(path), f.name) != getattr(load_card("d2m"), f.name)} == {
        "tolerance_s"
    }


def test_a_reference_serves_many_rows_and_one_card_only() -> None:
    kept = Reference(D2M, REAL, embed)
    assert dict(measure(D2M, DRAWN, kept)) == dict(measure(D2M, DRAWN, REAL, embed))
    with pytest.raises(D2MError, match="the reference was made for card d2m"):
        measure(FACT, DRAWN, kept)
