"""Dancers: key poses on the song's beats, eased between, by an individual body with an individual style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from d2m.core.skeleton import FPS
from d2m.toy.body import Body, Posture, draw_body, joints
from d2m.toy.clock import BEATS_PER_BAR, BeatClock
from d2m.toy.genres import Character, Genre
from d2m.toy.moves import (
    HEAD,
    HIPS,
    LEFT_ARM,
    LEFT_FOOT,
    MOVES,
    RIGHT_ARM,
    RIGHT_FOOT,
    ROW,
    TORSO,
    TRAVEL,
    YAW,
    mirrored,
)

#: Keys are laid this many beats before the first and after the last frame.
MARGIN_BEATS = 4
PHRASE_BARS = 4
#: A foot whose target on the floor moves by less than this (cm) does not move.
STEP_CM = 5.0
#: Maximum height (cm) of the lower foot.
HOP_CM = 4.0
#: Columns of a key: both arms; feet, hips and travel.
ARMS = [*range(RIGHT_ARM.start, RIGHT_ARM.stop), *range(LEFT_ARM.start, LEFT_ARM.stop)]
FEET = [*range(RIGHT_FOOT.start, LEFT_FOOT.stop), *range(HIPS.start, HIPS.stop), TRAVEL]
#: Tempo (BPM) at which movements have the size in the tables; otherwise it scales with the root of the beat's length.
USUAL_BPM = 110.0
#: Maximum scale of movements, and limits of arm angles, beyond which wrists would cross.
LARGEST = 1.4
ELEVATIONS = [RIGHT_ARM.start, LEFT_ARM.start]
RAISED_DEG = 165.0
AZIMUTHS = [RIGHT_ARM.start + 1, LEFT_ARM.start + 1]
FORWARD_DEG = 85.0
#: Limits of elbow angles, for any individual variation.
ELBOWS = [RIGHT_ARM.start + 2, LEFT_ARM.start + 2]
ELBOW_DEG = (8.0, 130.0)


@dataclass(frozen=True)
class Dancer:
    """One individual; everything that differs between two dancers of a genre."""

    body: Body
    amplitude: float
    arms: float  # share of the movement that goes to the arms, from -1 (feet and hips) to 1
    through: float  # see `Genre`, as `snap`
    snap: float
    lag_s: float  # behind the beat if positive
    arm_lag_s: float  # arms trail the rest
    stance: float  # half of the ankle distance, cm
    bounce: float  # cm
    habit: np.ndarray  # (ROW,) constant offset of every key
    noise: float  # variation between performances of a key
    facing: np.ndarray  # (4,) offset, amplitude (radians), rate (per beat), phase of the facing's drift
    repertoire: tuple[str, ...]


@dataclass(frozen=True)
class Dance:
    """Joints (t, 14, 3) float32 in cm, and what is known about them."""

    joints: np.ndarray
    dancer: Dancer
    moves: tuple[str, ...]  # name of each bar's move


def _spread(arm_deg: float, foot: float, hips: float, torso_deg: float) -> np.ndarray:
    """Standard deviations of a key's columns (ROW,)."""
    out = np.zeros(ROW)
    out[RIGHT_ARM] = out[LEFT_ARM] = arm_deg
    for part in (RIGHT_FOOT, LEFT_FOOT):
        out[part] = (foot, foot, 0)
    out[HIPS], out[TORSO], out[HEAD] = (hips, hips, hips / 2), torso_deg, torso_deg
    return out


def _repertoire(genre: Genre, arms: float, rng: np.random.Generator) -> tuple[str, ...]:
    """The moves of a genre that suit a dancer of the arms, or of the feet, best."""
    names = sorted(MOVES[genre.name], key=lambda name: float(MOVES[genre.name][name][:, FEET].std(0).sum()))
    fit = arms * np.linspace(1, -1, len(names)) + 0.4 * rng.standard_normal(len(names))
    return tuple(names[i] for i in np.argsort(-fit)[: len(names) - 2])


def draw_dancer(genre: Genre, character: Character, rng: np.random.Generator) -> Dancer:
    """An individual dancer of a genre, who dances to a song of this character."""
    body = draw_body(rng)
    habit = rng.standard_normal(ROW).clip(-2, 2) * _spread(4.0, 0.0, 0.0, 2.0)
    habit[TORSO.start + 1] = habit[TORSO.start + 2] = 0  # no constant lean or turn to the side
    habit[RIGHT_ARM.start] += 8 * character.lead
    habit[LEFT_ARM.start] += 8 * character.lead
    return Dancer(
        body=body,
        amplitude=genre.amplitude * 1.35**character.intensity * float(rng.uniform(0.95, 1.05)),
        arms=character.lead,
        through=float(np.clip(genre.through - 0.1 * character.articulation, 0, 1)),
        snap=float(np.clip(genre.snap + 0.25 * character.articulation, 0, 1)),
        lag_s=float(rng.uniform(-0.03, 0.03)),
        arm_lag_s=float(rng.uniform(0.0, 0.03)),
        stance=float(rng.uniform(*genre.stance)) * (1 - 0.12 * character.lead) * body.height / 2,
        bounce=genre.bounce * 1.35**character.intensity * float(rng.uniform(0.9, 1.1)) * body.height,
        habit=habit,
        noise=float(rng.uniform(0.6, 1.2)),
        facing=np.array(
            [
                rng.uniform(-0.25, 0.25),
                np.radians(genre.drift_deg) * rng.uniform(0.5, 1.0),
                1 / rng.uniform(40, 90),
                rng.uniform(0, 2 * np.pi),
            ]
        ),
        repertoire=_repertoire(genre, character.lead, rng),
    )


def _choreograph(
    dancer: Dancer, genre: Genre, bpm: float, n_bars: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Key rows (4 n_bars, ROW) in degrees and cm (170 cm body), and the name of each bar's move.

    Phrases of four bars: A A' A A' or A A' B B', where ' is the mirror image.
    """
    keys: list[np.ndarray] = []
    names: list[str] = []
    part = np.full(ROW, np.sqrt(USUAL_BPM / bpm))  # fast songs leave less time for a movement
    part[ARMS] *= 1 + 0.2 * dancer.arms
    part[FEET] *= 1 - 0.2 * dancer.arms
    while len(names) < n_bars:
        first, second = rng.choice(dancer.repertoire, 2, replace=False)
        if rng.random() < 0.4:
            second = first
        flip = bool(rng.integers(2))
        size = part * dancer.amplitude * float(rng.uniform(0.95, 1.05))
        for bar in range(PHRASE_BARS):
            name = str(first if bar < PHRASE_BARS // 2 else second)
            rows = MOVES[genre.name][name]
            rows = mirrored(rows) if flip ^ bool(bar % 2) else rows
            middle = rows.mean(0)
            wobble = rng.standard_normal(rows.shape).clip(-2, 2) * _spread(4.0, 0.8, 0.6, 1.5) * dancer.noise
            rows = middle + np.minimum(size, LARGEST) * (rows - middle) + wobble + dancer.habit
            rows[:, ELEVATIONS] = np.minimum(rows[:, ELEVATIONS], RAISED_DEG)
            rows[:, AZIMUTHS] = np.minimum(rows[:, AZIMUTHS], FORWARD_DEG)
            rows[:, ELBOWS] = rows[:, ELBOWS].clip(*ELBOW_DEG)
            keys.append(rows)
            names.append(name)
    return np.concatenate(keys[:n_bars]), names[:n_bars]


def _ease(x: np.ndarray, snap: float) -> np.ndarray:
    """Map the way between two beats (0..1) to 0..1: even, or with holds at both ends as `snap` goes to 1."""
    held = np.clip((x - 0.1) / 0.8, 0, 1)
    quick = held**3 * (10 - 15 * held + 6 * held**2)
    return (1 - snap) * x + snap * quick


def _between(keys: np.ndarray, position: np.ndarray, through: float, snap: float) -> np.ndarray:
    """Values (t, ...) of keys (k, ...) at fractional key positions (t,): cubic Hermite, slow on every key."""
    slope = np.zeros_like(keys)
    slope[1:-1] = through * (keys[2:] - keys[:-2]) / 2
    index = np.clip(np.floor(position).astype(int), 0, len(keys) - 2)
    x = _ease(np.clip(position - index, 0, 1), snap).reshape(-1, *(1,) * (keys.ndim - 1))
    a, b, da, db = keys[index], keys[index + 1], slope[index], slope[index + 1]
    return np.asarray(a + (b - a) * x * x * (3 - 2 * x) + x * (1 - x) * ((1 - x) * da - x * db))


def _plant(targets: np.ndarray) -> np.ndarray:
    """Foot keys (k, 2, 2) on the floor: a foot stays where it is until its target is STEP_CM away."""
    out = targets.copy()
    for k in range(1, len(out)):
        stays = np.linalg.norm(targets[k] - out[k - 1], axis=-1) < STEP_CM
        out[k, stays] = out[k - 1, stays]
    return out


def _ankles(places: np.ndarray, raised: np.ndarray, position: np.ndarray, snap: float) -> np.ndarray:
    """Ankles (t, 2, 3), over the floor, of feet on places (k, 2, 2), held up by `raised` (k, 2).

    Feet stop on the beat in every genre, and lift in between by a fraction of their step.
    """
    index = np.clip(np.floor(position).astype(int), 0, len(places) - 2)
    step = np.linalg.norm(places[index + 1] - places[index], axis=-1)
    lift = np.minimum(0.22 * step, 8.0) * np.sin(np.pi * (position - index))[:, None] ** 2
    height = _between(raised, position, 0.0, snap) + lift
    height -= np.maximum(height.min(axis=1, keepdims=True) - HOP_CM, 0)  # a run changes feet near the floor
    flat = _between(places, position, 0.0, snap)
    return np.stack([flat[..., 0], height, flat[..., 1]], axis=-1)


def dance(
    genre: Genre, dancer: Dancer, clock: BeatClock, n_frames: int, level: np.ndarray, rng: np.random.Generator
) -> Dance:
    """A dance of `n_frames` at 15 fps whose joints are slowest on the clock's beats, shifted by the lag.

    `level` (n_bars,) scales the movement of each bar, as the song's sections do.
    """
    seconds = np.arange(n_frames) / FPS - dancer.lag_s
    position = clock.beat_at(seconds) + MARGIN_BEATS
    n_bars = int(np.ceil((position[-1] + MARGIN_BEATS) / BEATS_PER_BAR)) + 1
    rows, names = _choreograph(dancer, genre, clock.bpm, n_bars, rng)
    scale = dancer.body.height / 170

    # Sections: bar -1 is the margin before the first downbeat.
    bar_level = level[np.clip(np.arange(n_bars) - MARGIN_BEATS // BEATS_PER_BAR, 0, len(level) - 1)]
    middle = rows.reshape(n_bars, BEATS_PER_BAR, ROW).mean(1).repeat(BEATS_PER_BAR, axis=0)
    rows = middle + (rows - middle) * bar_level.repeat(BEATS_PER_BAR)[:, None]

    beat = np.arange(len(rows))
    offset, swing, rate, phase = dancer.facing
    yaw = offset + swing * np.sin(2 * np.pi * rate * beat + phase) + np.radians(rows[:, YAW])
    left = np.stack([np.cos(yaw), -np.sin(yaw)], axis=1)  # (k, 2) in x, z
    ahead = np.stack([np.sin(yaw), np.cos(yaw)], axis=1)

    travel = scale * rows[:, TRAVEL, None] * left
    hips = travel + scale * (rows[:, HIPS.start, None] * left + rows[:, HIPS.start + 1, None] * ahead)
    sides = [
        sign * (dancer.stance + scale * rows[:, part.start, None]) * left
        + scale * rows[:, part.start + 1, None] * ahead
        for sign, part in ((-1, RIGHT_FOOT), (1, LEFT_FOOT))
    ]
    raised = scale * np.maximum(rows[:, [RIGHT_FOOT.start + 2, LEFT_FOOT.start + 2]], 0)
    ankles = _ankles(_plant(travel[:, None] + np.stack(sides, axis=1)), raised, position, dancer.snap)
    ankles[..., 1] += dancer.body.ankle

    body_rows = _between(rows, position, dancer.through, dancer.snap)
    arm_position = np.maximum(position - dancer.arm_lag_s * clock.bpm / 60, 0)
    arm_keys = np.radians(np.stack([rows[:, RIGHT_ARM], rows[:, LEFT_ARM]], axis=1))
    hips_path = _between(hips, position, dancer.through, dancer.snap)
    # Lowest on the beat; the drop of the key comes on top of the knees' own spring.
    drop = scale * body_rows[:, HIPS.start + 2] + dancer.bounce * (0.5 + 0.5 * np.cos(2 * np.pi * position))
    height = dancer.body.ankle + 0.98 * dancer.body.leg - drop
    torso = np.radians(body_rows[:, TORSO])
    head = np.radians(body_rows[:, HEAD])
    posture = Posture(
        root=np.stack([hips_path[:, 0], height, hips_path[:, 1]], axis=1),
        yaw=_between(yaw, position, dancer.through, dancer.snap),
        lean_forward=torso[:, 0],
        lean_left=torso[:, 1],
        twist=torso[:, 2],
        nod=head[:, 0],
        look=head[:, 1],
        arms=_between(arm_keys, arm_position, dancer.through, dancer.snap),
        ankles=ankles,
    )
    moves = names[MARGIN_BEATS // BEATS_PER_BAR :]
    return Dance(joints(dancer.body, posture).astype(np.float32), dancer, tuple(moves))
