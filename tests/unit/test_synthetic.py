"""The embedded corpus: its songs have the beats, and its dancers the bodies and energies, that it says."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import d2m.toy.write as write_module
from d2m.core.errors import D2MError
from d2m.core.skeleton import BEAT_PERIOD, FPS, HOP, JOINTS, LIMBS, SAMPLE_RATE, UNIT_FRAMES
from d2m.data.manifest import read_manifest
from d2m.motion.camera import centre
from d2m.motion.kinematics import jerk, kinematic_beats, kinetic_energy, torso_length
from d2m.motion.units import cut_units, fold_period, track_beats
from d2m.music.audio import n_frames
from d2m.music.beats import music_beats
from d2m.music.front_ends import features
from d2m.music.front_ends.rhythm import COLUMNS
from d2m.prepare.sources.npz import read_npz_clip
from d2m.toy import ENERGETIC, FLOWING, GENRES, make_pair, write_corpus
from d2m.toy.body import Posture, draw_body, joints
from d2m.toy.clock import BeatClock, draw_clock
from d2m.toy.dancers import dance, draw_dancer
from d2m.toy.genres import Character
from d2m.toy.moves import MOVES, ROW, mirrored

N_SONGS, SECONDS = 4, 16.0


@dataclass(frozen=True)
class Pair:
    """One song and dance of the corpus, read from its files."""

    name: str
    genre: str
    wave: np.ndarray
    joints: np.ndarray
    truth: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("synthetic") / "raw", N_SONGS, SECONDS, seed=3)


@pytest.fixture(scope="module")
def pairs(root: Path) -> list[Pair]:
    out = []
    for row in csv.DictReader((root / "manifest.csv").open()):
        wave, rate = soundfile.read(root / row["audio"], dtype="float32")
        assert rate == SAMPLE_RATE
        with np.load(root / "truth" / f"{row['name']}.npz") as truth:
            known = dict(truth)
        poses = np.load(root / row["pose"])["joints"].astype(np.float64)
        out.append(Pair(row["name"], row["genre"], wave, poses, known))
    return out


def f_measure(found: np.ndarray, true: np.ndarray, tolerance_s: float = 0.07) -> float:
    """One to one within the tolerance; true beats are further apart than twice the tolerance."""
    if not len(found):
        return 0.0
    nearest = np.abs(found[:, None] - true).argmin(1)
    hits = len(set(nearest[np.abs(found - true[nearest]) <= tolerance_s]))
    return 2 * hits / (len(found) + len(true))


def by_genre(pairs: list[Pair], measure: Callable[[Pair], float]) -> dict[str, np.ndarray]:
    return {genre: np.array([measure(p) for p in pairs if p.genre == genre]) for genre in GENRES}


def digest(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# The files


def test_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = digest(write_corpus(tmp_path / "a", 1, 5.0, seed=7))
    assert len(first) == 3 * len(GENRES) + 2
    assert digest(write_corpus(tmp_path / "b", 1, 5.0, seed=7)) == first
    other = digest(write_corpus(tmp_path / "c", 1, 5.0, seed=8))
    same = [name for name in first if other[name] == first[name]]
    assert not same


def test_a_song_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    one = digest(write_corpus(tmp_path / "one", 1, 5.0, genres=[ENERGETIC]))
    more = digest(write_corpus(tmp_path / "more", 2, 5.0, genres=[FLOWING, ENERGETIC]))
    for name in (f"audio/{ENERGETIC}_000.flac", f"pose3d/{ENERGETIC}_000.npz"):
        assert one[name] == more[name]
    assert more[f"audio/{ENERGETIC}_000.flac"] != more[f"audio/{ENERGETIC}_001.flac"]


def test_the_reader_of_real_data_reads_it(root: Path, pairs: list[Pair]) -> None:
    recordings = read_manifest(root)
    assert [r.name for r in recordings] == [p.name for p in pairs]
    assert len({r.group for r in recordings}) == len(recordings)
    for recording, pair in zip(recordings, pairs, strict=True):
        motion = read_npz_clip(recording.pose)
        assert motion.fps == FPS
        np.testing.assert_array_equal(motion.joints, pair.joints.astype(np.float32))
    with np.load(root / "pose3d" / f"{FLOWING}_000.npz") as file:
        assert file["joints"].dtype == np.float32
        assert tuple(file["joint_names"]) == JOINTS
        assert (int(file["fps"]), str(file["genre"])) == (FPS, FLOWING)


@pytest.mark.parametrize("seconds", [4.0, 4.37, 7.1])
def test_sound_and_motion_have_the_same_length(seconds: float) -> None:
    song, dance = make_pair("groove", seconds, np.random.default_rng(0))
    assert len(dance.joints) == round(seconds * FPS) == n_frames(len(song.wave))
    assert len(song.wave) == len(dance.joints) * HOP


def test_a_corpus_that_is_there_is_left_alone(root: Path) -> None:
    before = (root / "manifest.csv").stat().st_mtime_ns
    assert write_corpus(root, N_SONGS, SECONDS, seed=3) == root
    assert (root / "manifest.csv").stat().st_mtime_ns == before
    with pytest.raises(D2MError, match="contains something other"):
        write_corpus(root, N_SONGS, SECONDS, seed=4)
    assert json.loads((root / "synthetic.json").read_text())["seed"] == 3


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write_module.Path, "write_bytes", full)
    with pytest.raises(D2MError, match="the disk is full"):
        write_corpus(tmp_path / "raw", 1, 4.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"genres": ["ballet"]}, "ballet.*flow, groove, drive"),
        ({"genres": []}, "genres"),
        ({"genres": [FLOWING, FLOWING]}, "each once"),
        ({"seconds": 3.9}, "at least 4"),
        ({"seconds": float("nan")}, "seconds"),
        ({"n_songs_per_genre": 0}, "at least 1"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments_say_so_in_one_line(tmp_path: Path, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(D2MError, match=words) as error:
        write_corpus(tmp_path / "raw", **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert not (tmp_path / "raw").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "raw"):
        with pytest.raises(D2MError, match="file"):
            write_corpus(target, 1, 4.0)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# The songs


def test_the_clock_inverts_itself_and_keeps_its_tempo() -> None:
    clock = BeatClock(bpm=120.0, start_s=0.3, drift_phase=1.0)
    beats = np.linspace(-8, 200, 1000)
    np.testing.assert_allclose(clock.beat_at(clock.time_of(beats)), beats, atol=1e-9)
    assert clock.time_of(np.array(0.0)) == pytest.approx(0.3)
    intervals = np.diff(clock.beats_within(60.0))
    assert np.all(np.abs(intervals / 0.5 - 1) < 0.005)
    assert np.ptp(intervals) > 0.001


def test_waves_are_sound_music_files_can_hold(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert np.isfinite(pair.wave).all()
        assert 0.15 < np.abs(pair.wave).max() < 1
        assert abs(pair.wave.mean()) < 0.01
        rms = np.sqrt(np.square(pair.wave[: SAMPLE_RATE * 15].reshape(15, -1)).mean(1))
        assert rms.min() > 0.2 * np.median(rms), f"{pair.name} has a hole"


def test_beats_are_heard_where_they_are_said_to_be(pairs: list[Pair]) -> None:
    scores = np.array([f_measure(music_beats(p.wave), p.truth["beats"]) for p in pairs])
    shifted = [f_measure(music_beats(p.wave), p.truth["beats"] + 30 / p.truth["bpm"]) for p in pairs]
    assert np.median(scores) > 0.9
    assert scores.mean() > 0.8
    assert np.median(shifted) < 0.3


def test_tempi_of_genres_overlap_and_fold_to_one_beat(pairs: list[Pair]) -> None:
    tempo = by_genre(pairs, lambda p: 60 / float(np.diff(p.truth["beats"]).mean()))
    for genre, values in tempo.items():
        low, high = GENRES[genre].tempo
        assert np.all((values > low * 0.99) & (values < high * 1.01))
        assert np.ptp(values) > 0.5
        for period in (60 / low, 60 / high):  # neither half nor double is a dancer's
            assert fold_period(period / 2) == fold_period(2 * period) == fold_period(period) == period
    for a, b in ((FLOWING, "groove"), ("groove", ENERGETIC)):
        (low_a, high_a), (low_b, high_b) = GENRES[a].tempo, GENRES[b].tempo
        assert min(high_a, high_b) - max(low_a, low_b) > 0.5 * max(high_a - low_a, high_b - low_b)


def test_genre_is_told_by_rhythm_and_by_no_other_cue_alone() -> None:
    """36 songs of 12 s, 6-fold by song, three times; chance is 1/3."""
    genre = np.repeat(np.arange(len(GENRES)), 12)
    songs = [make_pair(g, 12.0, np.random.default_rng([0, i, k]))[0] for i, g in enumerate(GENRES) for k in range(12)]
    heard = np.stack([features(song.wave, "rhythm").mean(0) for song in songs])

    def accuracy(x: np.ndarray) -> float:
        reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.03))
        folds = (StratifiedKFold(6, shuffle=True, random_state=k) for k in range(3))
        return float(np.mean([cross_val_score(reader, x, genre, cv=f).mean() for f in folds]))

    assert accuracy(heard) > 0.85
    assert accuracy(np.log([[song.clock.bpm] for song in songs])) < 0.75
    assert accuracy(heard[:, :28]) < 0.75, "means of loudness and cepstra"
    assert accuracy(heard[:, [c.startswith("chroma") for c in COLUMNS]]) < 0.75


def test_the_character_of_a_song_is_heard_and_danced(pairs: list[Pair]) -> None:
    """Within genres: the genre's mean is taken out of everything that is compared."""
    genre = np.array([p.genre for p in pairs])

    def correlation(a: list[float], b: list[float]) -> float:
        x = np.array([a, b])
        for g in GENRES:
            x[:, genre == g] -= x[:, genre == g].mean(1, keepdims=True)
        return float(np.corrcoef(x)[0, 1])

    known = {name: [float(p.truth[name]) for p in pairs] for name in ("intensity", "articulation", "lead")}
    heard = np.stack([features(p.wave, "rhythm").mean(0) for p in pairs]).T
    assert correlation(known["intensity"], heard[COLUMNS.index("onset_mid")].tolist()) > 0.3
    assert correlation(known["articulation"], heard[COLUMNS.index("onset_low")].tolist()) > 0.7
    assert correlation(known["lead"], heard[COLUMNS.index("cepstrum_3")].tolist()) < -0.5
    energy = [float(np.log(kinetic_energy(p.joints / torso_length(p.joints), FPS).mean())) for p in pairs]
    assert correlation(known["intensity"], energy) > 0.5
    jerky = [
        float(np.log(jerk(p.joints / torso_length(p.joints), FPS).mean())) - 0.5 * e
        for p, e in zip(pairs, energy, strict=True)
    ]
    assert correlation(known["articulation"], jerky) > 0.5
    stance = [
        float((np.linalg.norm(p.joints[:, 13] - p.joints[:, 10], axis=-1)).mean() / torso_length(p.joints))
        for p in pairs
    ]
    assert correlation(known["lead"], stance) < -0.4


# The dancers


def danced(genre: str, character: Character, seed: int = 0) -> np.ndarray:
    """Joints (450, 14, 3) in torso lengths of a dance that differs from others of its seed by the character alone."""
    rng = np.random.default_rng([seed, list(GENRES).index(genre)])
    clock, recipe = draw_clock(GENRES[genre].tempo, rng), GENRES[genre]
    poses = dance(recipe, draw_dancer(recipe, character, rng), clock, 450, np.ones(20), rng).joints.astype(np.float64)
    return poses / torso_length(poses)


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_character_changes_the_dance(genre: str, seed: int) -> None:
    def energy(poses: np.ndarray) -> float:
        return float(kinetic_energy(poses, FPS).mean())

    def stance(poses: np.ndarray) -> float:
        return float(np.linalg.norm(poses[:, 13] - poses[:, 10], axis=-1).mean())

    def sharpness(poses: np.ndarray) -> float:
        return float(jerk(poses, FPS).mean()) / np.sqrt(energy(poses))

    def arms_over_feet(poses: np.ndarray) -> float:
        step = np.linalg.norm(np.diff(poses, axis=0), axis=-1)
        return float(step[:, [4, 7]].mean() / step[:, [10, 13]].mean())

    calm, intense = (danced(genre, Character(x, 0, 0), seed) for x in (-1, 1))
    assert energy(intense) > 2 * energy(calm)
    legato, staccato = (danced(genre, Character(0, x, 0), seed) for x in (-1, 1))
    assert sharpness(staccato) > 1.25 * sharpness(legato)
    feet, arms = (danced(genre, Character(0, 0, x), seed) for x in (-1, 1))
    assert stance(arms) < 0.95 * stance(feet)
    assert arms_over_feet(arms) > 1.3 * arms_over_feet(feet)


def test_limbs_keep_their_lengths(pairs: list[Pair]) -> None:
    for pair in pairs:
        for a, b, _ in LIMBS:
            length = np.linalg.norm(pair.joints[:, a] - pair.joints[:, b], axis=-1)
            assert np.ptp(length) < 1e-3, f"{pair.name}: {JOINTS[a]} to {JOINTS[b]}"


def test_a_hanging_body_stands_where_it_should() -> None:
    body = draw_body(np.random.default_rng(0))
    zero = np.zeros(1)
    ankles = np.array([[[-15.0, body.ankle, 0.0], [15.0, body.ankle, 0.0]]])
    arms = np.zeros((1, 2, 4))
    arms[0, 1] = np.radians([90, 90, 90, 90])  # the left arm straight ahead, its forearm up
    place = np.array([[0.0, 70.0, 0.0]])
    pose = joints(body, Posture(place, zero, zero, zero, zero, zero, zero, arms, ankles))[0]
    at = dict(zip(JOINTS, pose, strict=True))
    assert at["right_shoulder"][0] < 0 < at["left_shoulder"][0]  # faces +z
    assert at["nose"][2] > 0
    np.testing.assert_allclose(at["neck"], [0, 70 + body.torso, 0], atol=1e-6)
    down = at["right_wrist"] - at["right_shoulder"]
    np.testing.assert_allclose(down, [0, -body.upper_arm - body.forearm, 0], atol=1e-9)
    np.testing.assert_allclose(at["left_elbow"] - at["left_shoulder"], [0, 0, body.upper_arm], atol=1e-9)
    np.testing.assert_allclose(at["left_wrist"] - at["left_elbow"], [0, body.forearm, 0], atol=1e-9)
    np.testing.assert_allclose(pose[[10, 13]], ankles[0], atol=1e-9)
    assert at["right_knee"][2] > 5  # bent to the front


def test_legs_that_cannot_reach_lower_the_hips() -> None:
    body = draw_body(np.random.default_rng(1))
    zero, arms = np.zeros(2), np.zeros((2, 2, 4))
    wide = np.array([[-10.0, 10.0], [-60.0, 60.0]])
    ankles = np.stack([wide, np.full((2, 2), body.ankle), np.zeros((2, 2))], axis=-1)
    place = np.array([[0.0, 300.0, 0.0]] * 2)
    pose = joints(body, Posture(place, zero, zero, zero, zero, zero, zero, arms, ankles))
    np.testing.assert_allclose(pose[:, [10, 13]], ankles, atol=1e-9)
    assert pose[1, 8, 1] < pose[0, 8, 1] - 10


def angle_at(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    cosine = ((a - b) * (c - b)).sum(-1) / np.linalg.norm(a - b, axis=-1) / np.linalg.norm(c - b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def across(poses: np.ndarray, right: int, left: int, axis: tuple[int, int]) -> np.ndarray:
    """How far (t,) the left joint lies to the left of the right one, along the line between two others."""
    line = poses[:, axis[1]] - poses[:, axis[0]]
    line /= np.linalg.norm(line, axis=-1, keepdims=True)
    return np.asarray(((poses[:, left] - poses[:, right]) * line).sum(-1))


@pytest.mark.parametrize("genre", GENRES)
def test_dancers_of_extreme_characters_cross_no_limbs_and_neither_freeze_nor_jump(genre: str) -> None:
    for seed, corner in itertools.product(range(2), itertools.product((-1.0, 1.0), repeat=3)):
        poses = danced(genre, Character(*corner), seed)
        assert across(poses, 4, 7, (2, 5)).min() > 0.1, f"wrists cross: {corner}"
        assert across(poses, 10, 13, (8, 11)).min() > 0.2, f"ankles cross: {corner}"
        speed = np.linalg.norm(np.diff(poses, axis=0), axis=-1).max(1) * FPS
        assert speed.max() < 22, f"a jump: {corner}"
        assert speed[: 29 * FPS].reshape(-1, FPS).max(1).min() > 0.3, f"a second without movement: {corner}"


def test_bodies_stay_possible(pairs: list[Pair]) -> None:
    for pair in pairs:
        j = pair.joints
        assert across(j, 4, 7, (2, 5)).min() > 10, "wrists cross"
        assert across(j, 10, 13, (8, 11)).min() > 10, "ankles cross"
        ahead = np.cross(j[:, 11] - j[:, 8], [0, 1, 0])
        for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
            assert angle_at(j[:, hip], j[:, knee], j[:, ankle]).min() > 45
            bend = j[:, knee] - (j[:, hip] + j[:, ankle]) / 2
            assert (bend * ahead).sum(-1).min() > 0, "a knee bends backward"
        for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
            bend = angle_at(j[:, shoulder], j[:, elbow], j[:, wrist])
            assert bend.min() > 40 and bend.max() < 179.5
        assert np.linalg.norm(np.diff(j, axis=0), axis=-1).max() * FPS < 900, "a jump"


def test_feet_stand_on_the_floor_and_do_not_slide(pairs: list[Pair]) -> None:
    for pair in pairs:
        ankles = pair.joints[:, [10, 13]]
        floor = ankles[..., 1].min()
        assert 5 < floor < 10
        assert (ankles[..., 1].min(1) - floor).max() < 5, "both feet in the air"
        down = (ankles[1:, :, 1] < floor + 0.5) & (ankles[:-1, :, 1] < floor + 0.5)
        slide = np.linalg.norm(np.diff(ankles[..., [0, 2]], axis=0), axis=-1) * FPS
        assert slide[down].max() < 20
        assert down.any(1).mean() > 0.2


def test_dancers_are_slowest_on_the_beat(pairs: list[Pair]) -> None:
    for pair in pairs:
        beats = kinematic_beats(pair.joints, FPS)
        assert f_measure(beats, pair.truth["beats"]) > 0.8, pair.name
        assert f_measure(beats, pair.truth["beats"] + 30 / pair.truth["bpm"]) < 0.4, pair.name


def test_dancers_lead_or_lag_as_recorded(pairs: list[Pair]) -> None:
    def measured(p: Pair) -> float:
        found = kinematic_beats(p.joints, FPS)
        nearest = p.truth["beats"][np.abs(found[:, None] - p.truth["beats"]).argmin(1)]
        return float(np.median(found - nearest))

    lag = np.array([float(p.truth["lag_s"]) for p in pairs])
    seen = np.array([measured(p) for p in pairs])
    assert np.ptp(lag) > 0.02
    assert np.corrcoef(lag, seen)[0, 1] > 0.7
    assert np.abs(seen - lag).max() < 0.035


def test_energy_and_jerk_by_genre(pairs: list[Pair]) -> None:
    energy = by_genre(pairs, lambda p: float(kinetic_energy(p.joints, FPS).mean()))
    assert energy[FLOWING].mean() < energy["groove"].mean() / 1.2
    assert energy["groove"].mean() < energy[ENERGETIC].mean() / 1.5
    assert energy[FLOWING].min() > 100, "frozen"
    for values in energy.values():  # songs differ
        assert values.max() > 1.3 * values.min()
    shake = by_genre(pairs, lambda p: float(jerk(p.joints, FPS).mean()))
    assert shake[ENERGETIC].mean() > 4 * shake[FLOWING].mean()


def test_units_of_energetic_genres_have_more_energy_too(pairs: list[Pair]) -> None:
    """Units are warped to one tempo; their energy is read back at the tempo that was danced."""

    def warped(p: Pair) -> float:
        body = centre(p.joints) / torso_length(p.joints)
        cut = cut_units(body, FPS, track_beats(body, FPS, 60 / float(p.truth["bpm"])))
        rates = BEAT_PERIOD / np.diff(cut.beats, axis=1).mean(1)
        units = cut.units.reshape(-1, UNIT_FRAMES, *p.joints.shape[1:])
        return float(np.mean([kinetic_energy(u, r).mean() for u, r in zip(units, rates, strict=True)]))

    energy = by_genre(pairs, warped)
    assert energy[FLOWING].mean() < energy["groove"].mean() / 1.2
    assert energy["groove"].mean() < energy[ENERGETIC].mean() / 1.4


def test_dances_are_varied(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert set(pair.truth["moves"]) <= set(MOVES[pair.genre])
    for genre in GENRES:
        danced = {move for p in pairs if p.genre == genre for move in p.truth["moves"]}
        assert len(danced) >= 5
        heights = [float(p.truth["height"]) for p in pairs if p.genre == genre]
        assert np.ptp(heights) > 2


def test_mirroring_twice_is_nothing_and_mirrors_the_body() -> None:
    rows = np.random.default_rng(0).normal(size=(5, ROW))
    np.testing.assert_array_equal(mirrored(mirrored(rows)), rows)
    assert not np.array_equal(mirrored(rows), rows)
    for table in MOVES.values():
        for keys in table.values():
            assert keys.shape == (4, ROW)
