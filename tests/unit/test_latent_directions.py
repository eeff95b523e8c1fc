"""Latent directions: the guarantees of each, on data with known truth, with few songs in many dimensions."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable
from d2m.edits.axes import PrincipalAxes, RandomDirection
from d2m.edits.boundary import LinearBoundary
from d2m.edits.direction import ARRAYS, INDEX, save_direction
from d2m.edits.directions import DIRECTIONS, direction_between, load_direction
from d2m.edits.erasure import Erasure
from d2m.edits.mean_shift import MeanShift
from d2m.edits.strength import Schedule
from d2m.edits.transport import GaussianTransport
from d2m.stats.covariance import ShrunkCovariance, ledoit_wolf_intensity

SOURCE, TARGET = "waltz", "chacha"


def planted(
    n: int, d: int, gap: float = 4.0, seed: int = 0, genres: int = 2, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n latents per genre around means on random directions; the unit direction from waltz to chacha."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(genres, d))
    means *= gap / np.linalg.norm(means, axis=1, keepdims=True)
    genre = np.repeat([SOURCE, TARGET, "tango", "samba"][:genres], n)
    z = np.repeat(means, n, axis=0) + spread * rng.normal(size=(n * genres, d))
    direction = means[1] - means[0]
    return z.astype(np.float32), genre, direction / np.linalg.norm(direction)


def make(name: str) -> object:
    return direction_between(name, SOURCE, TARGET)


# 62 songs in 512 dimensions, as in the study.
SONGS = planted(31, 512)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_strength_zero_is_the_identity_to_the_bit(name: str) -> None:
    z, genre, _ = SONGS
    edit = make(name).fit(z, genre)
    z = z.copy()
    z[0, 0] = -0.0
    for out in (edit.transform(z, 0.0), edit.neutral(z, 0), edit.transform(z, np.zeros(len(z)))):
        assert out.tobytes() == z.tobytes() and out.dtype == np.float32


@pytest.mark.parametrize("name", DIRECTIONS)
def test_few_songs_in_many_dimensions_stay_finite_and_near(name: str) -> None:
    z, genre, _ = SONGS
    edit = make(name).fit(z, genre)
    distance = np.linalg.norm(z[genre == TARGET].mean(0) - z[genre == SOURCE].mean(0))
    for out in (edit.transform(z[genre == SOURCE]), edit.neutral(z[genre == SOURCE])):
        assert np.isfinite(out).all()
        # A new latent, too: nothing explodes off the span of the songs.
        moved = np.linalg.norm(out - z[genre == SOURCE], axis=1)
        assert moved.max() < 3 * max(distance, np.linalg.norm(z, axis=1).max() / 2)
    new = np.random.default_rng(9).normal(size=(5, 512)).astype(np.float32)
    assert np.linalg.norm(edit.transform(new) - new, axis=1).max() < 4 * distance


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_file_gives_back_the_same_edit_to_the_bit(name: str, tmp_path: Path) -> None:
    z, genre, _ = SONGS
    edit = make(name).fit(z, genre)
    folder = save_direction(tmp_path / "a direction", edit, space="abc", facts={"songs": 62})
    for path in (folder, folder / INDEX, folder / ARRAYS):
        again, index = load_direction(path)
        assert type(again) is type(edit) and again.params == edit.params
        assert index["space"] == "abc" and index["width"] == 512
        assert again.transform(z, 0.7).tobytes() == edit.transform(z, 0.7).tobytes()
        assert again.neutral(z, 0.7).tobytes() == edit.neutral(z, 0.7).tobytes()


def test_bad_direction_files_are_named(tmp_path: Path) -> None:
    z, genre, _ = SONGS
    folder = save_direction(tmp_path / "d", MeanShift(SOURCE, TARGET).fit(z, genre))
    with pytest.raises(D2MError, match="not a direction"):
        load_direction(tmp_path)
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(text.replace('"mean_shift"', '"magic"'))
    with pytest.raises(D2MError, match="unknown direction 'magic'"):
        load_direction(folder)
    (folder / INDEX).write_text("{")
    with pytest.raises(D2MError, match="not a readable direction"):
        load_direction(folder)
    (folder / INDEX).write_text(text)
    data = bytearray((folder / ARRAYS).read_bytes())
    data[-1] ^= 1
    (folder / ARRAYS).write_bytes(bytes(data))
    with pytest.raises(D2MError, match="altered"):
        load_direction(folder)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_rows_follow_their_own_strength(name: str) -> None:
    z, genre, _ = SONGS
    edit = make(name).fit(z, genre)
    mixed = edit.transform(z[:3], np.array([0.0, 0.5, 1.0]))
    for row, strength in enumerate((0.0, 0.5, 1.0)):
        assert_allclose(mixed[row], edit.transform(z[:3], strength)[row], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="strength"):
        edit.transform(z[:3], np.ones(2))


@pytest.mark.parametrize("name", ["mean_shift", "boundary", "erasure", "transport"])
def test_a_direction_needs_its_genres(name: str) -> None:
    z, genre, _ = SONGS
    with pytest.raises(D2MError, match=r"'polka'.*chacha, waltz"):
        direction_between(name, SOURCE, "polka").fit(z, genre)
    with pytest.raises(D2MError):
        make(name).fit(np.full((4, 3), np.nan), ["waltz"] * 4)


def test_schedules() -> None:
    ramp = Schedule.parse([[0, 0], [30, 1]])
    assert_allclose(ramp.at(np.array([-1.0, 0, 15, 30, 99])), [0, 0, 0.5, 1, 1])
    assert str(ramp) == "0 at 0 s, 1 at 30 s"
    for bad in ([], [[0, 1, 2]], [[3, 0], [1, 1]], "fast", [[0, "x"]], [[0, float("nan")]], 3, None):
        with pytest.raises(D2MError, match="schedule"):
            Schedule.parse(bad)


# -- covariance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(31, 512), (500, 8), (20, 20), (2, 5)])
def test_shrinkage_is_ledoit_and_wolfs(n: int, d: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, d)) * np.linspace(0.2, 3, d)
    x -= x.mean(0)
    assert ledoit_wolf_intensity(x) == pytest.approx(ledoit_wolf_shrinkage(x, assume_centered=True), abs=1e-9)


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.5, 1.0])
def test_powers_without_the_matrix(power: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 40))
    x -= x.mean(0)
    sigma = ShrunkCovariance.fit(x, 0.3)
    s = x.T @ x / 12
    dense = 0.7 * s + 0.3 * np.trace(s) / 40 * np.eye(40)
    values, vectors = np.linalg.eigh(dense)
    v = rng.normal(size=(3, 40))
    assert_allclose(sigma.power(v, power), v @ (vectors * values**power) @ vectors.T, rtol=1e-8, atol=1e-10)
    assert sigma.trace == pytest.approx(np.trace(s))


# -- mean shift and boundaries --------------------------------------------------------------------------------


def test_mean_shift_moves_the_mean_exactly() -> None:
    z, genre, _ = SONGS
    z = z.astype(np.float64)
    edit = MeanShift(SOURCE, TARGET).fit(z, genre)
    assert_allclose(edit.transform(z[genre == SOURCE]).mean(0), z[genre == TARGET].mean(0), atol=1e-12)


@pytest.mark.parametrize("method", ["lda", "logistic"])
def test_the_boundary_recovers_a_planted_direction(method: str) -> None:
    rng = np.random.default_rng(0)
    z, genre, direction = planted(2000, 16)
    cosine = float(LinearBoundary(SOURCE, TARGET, method).fit(z, genre).normal_ @ direction)
    assert cosine > 0.98
    # Correlated noise: the boundary is Sigma^-1 (mean difference), not the mean difference.
    mix = np.linalg.qr(rng.normal(size=(16, 16)))[0] * np.linspace(0.5, 2, 16)
    tilted = LinearBoundary(SOURCE, TARGET, method).fit(z @ mix, genre).normal_
    truth = np.linalg.solve(mix.T @ mix, mix.T @ direction)
    assert float(tilted @ truth) / np.linalg.norm(truth) > 0.95


@pytest.mark.parametrize("method", ["lda", "logistic"])
def test_the_boundary_of_62_songs_points_the_planted_way(method: str) -> None:
    z, genre, direction = planted(31, 512, gap=12.0)
    edit = LinearBoundary(SOURCE, TARGET, method).fit(z, genre)
    assert float(edit.normal_ @ direction) > 0.85
    fresh, labels, _ = planted(200, 512, gap=12.0)  # the same means: the seed draws them first
    assert ((edit.score(fresh) > 0) == (labels == TARGET)).mean() > 0.97


def test_the_boundarys_strength_and_neutral() -> None:
    z, genre, _ = SONGS
    z = z.astype(np.float64)
    edit = LinearBoundary(SOURCE, TARGET).fit(z, genre)
    moved = edit.transform(z[genre == SOURCE])
    assert edit.score(moved).mean() == pytest.approx(edit.score(z[genre == TARGET]).mean())
    assert_allclose(edit.score(edit.neutral(z)), 0, atol=1e-10)
    assert edit.gap_ > 0


def test_conditional_projection_leaves_the_attribute_alone() -> None:
    rng = np.random.default_rng(0)
    n, d = 600, 12
    tempo = rng.random(n) < 0.5
    fast_waltz = np.where(rng.random(n) < 0.8, tempo, ~tempo)  # genre and tempo are confounded
    genre = np.where(fast_waltz, SOURCE, TARGET)
    z = rng.normal(size=(n, d))
    z[:, 0] += 3 * (genre == TARGET)
    z[:, 1] += 3 * tempo
    z[:, 0] += 1.5 * tempo  # and entangled
    plain = LinearBoundary(SOURCE, TARGET).fit(z, genre)
    freed = LinearBoundary(SOURCE, TARGET).fit(z, genre, attributes={"tempo": tempo})
    from d2m.edits.boundary import boundary_normal

    other = boundary_normal(z, tempo)
    assert abs(float(freed.normal_ @ other)) < 1e-10 < abs(float(plain.normal_ @ other))
    with pytest.raises(D2MError, match="nothing of waltz"):
        LinearBoundary(SOURCE, TARGET).fit(z, genre, attributes={"same": genre == TARGET})
    with pytest.raises(D2MError, match="attribute 'k'"):
        LinearBoundary(SOURCE, TARGET).fit(z, genre, attributes={"k": np.arange(n)})


# -- erasure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [None, 0.0, 0.3])
def test_no_probe_finds_the_genre_where_it_was_erased(shrinkage: float | None) -> None:
    z, genre, _ = planted(21, 512, genres=3)
    z = z.astype(np.float64)
    edit = Erasure(shrinkage=shrinkage).fit(z, genre)
    erased = edit.neutral(z)
    for g in np.unique(genre):
        assert_allclose(erased[genre == g].mean(0), z.mean(0), atol=1e-9)
    probe = LogisticRegression(C=1e3, max_iter=200).fit(erased - erased.mean(0), genre)
    assert np.abs(probe.coef_).max() < 1e-3, "the optimal probe is constant"
    assert LogisticRegression().fit(z, genre).score(z, genre) == 1.0, "before, 63 songs in 512-d are separable"
    ridge = RidgeClassifier(alpha=1e-3).fit(erased, genre)
    assert np.abs(ridge.coef_).max() < 1e-6


def test_held_out_songs_are_at_chance_too_where_songs_outnumber_dimensions() -> None:
    z, genre, _ = planted(4000, 10, gap=2.0)
    half = np.arange(len(z)) % 2 == 0
    edit = Erasure().fit(z[half], genre[half])
    probe = LogisticRegression().fit(edit.neutral(z[half]), genre[half])
    assert LogisticRegression().fit(z[half], genre[half]).score(z[~half], genre[~half]) > 0.9
    assert abs(probe.score(edit.neutral(z[~half]), genre[~half]) - 0.5) < 0.03
    fresh = LogisticRegression().fit(edit.neutral(z[~half]), genre[~half])  # a probe that may look at them
    assert fresh.score(edit.neutral(z[~half]), genre[~half]) < 0.54


def test_erasure_changes_the_data_least() -> None:
    rng = np.random.default_rng(1)
    z, genre, _ = planted(1000, 10, gap=2.0)
    z = z @ (rng.normal(size=(10, 10)) / 2 + np.diag(np.linspace(0.3, 3, 10)))
    edit = Erasure(shrinkage=0.0).fit(z, genre)
    difference = z[genre == TARGET].mean(0) - z[genre == SOURCE].mean(0)
    unit = difference / np.linalg.norm(difference)
    centred = z - z.mean(0)
    naive = z - np.outer(centred @ unit, unit)  # also leaves no linear trace
    assert_allclose(naive[genre == TARGET].mean(0), naive[genre == SOURCE].mean(0), atol=1e-5)
    best = np.square(edit.neutral(z) - z).sum(1).mean()
    assert best < 0.9 * np.square(naive - z).sum(1).mean()
    # Optimal: any other oblique projection along the same genre part costs more.
    for _ in range(20):
        read = edit.read_[0] + 0.1 * rng.normal(size=10)
        read /= read @ edit.write_[0]
        other = z - np.outer(centred @ read, edit.write_[0])
        assert best <= np.square(other - z).sum(1).mean() + 1e-9
    # Erasing twice is erasing once.
    assert_allclose(edit.neutral(edit.neutral(z)), edit.neutral(z), atol=1e-4)


def test_writing_a_target_puts_all_genres_on_its_mean() -> None:
    z, genre, _ = planted(21, 64, genres=3)
    z = z.astype(np.float64)
    edit = Erasure(TARGET).fit(z, genre)
    for g in np.unique(genre):
        assert_allclose(edit.transform(z[genre == g]).mean(0), z[genre == TARGET].mean(0), atol=1e-9)
    with pytest.raises(D2MError, match="two genres"):
        Erasure().fit(z[:5], genre[:5])


# -- transport ------------------------------------------------------------------------------------------------


def test_transport_is_the_analytic_map_between_gaussians() -> None:
    rng = np.random.default_rng(0)
    d, n = 5, 400
    a = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
    b = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) - 1
    edit = GaussianTransport(SOURCE, TARGET, shrinkage=0.0).fit(np.concatenate([a, b]), np.repeat([SOURCE, TARGET], n))
    moved = edit.transform(a)
    assert_allclose(moved.mean(0), b.mean(0), atol=1e-9)
    assert_allclose(np.cov(moved.T), np.cov(b.T), rtol=1e-7, atol=1e-7)
    # The map is symmetric positive and its cost is the Bures-Wasserstein distance: no other map is cheaper.
    dense = edit.scale_ * np.eye(d) + edit.basis_.T @ edit.core_ @ edit.basis_
    assert_allclose(dense, dense.T, atol=1e-9)
    assert np.linalg.eigvalsh(dense).min() > 0
    from scipy.linalg import sqrtm

    s, t = np.cov(a.T, bias=True), np.cov(b.T, bias=True)
    bures = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * np.real(sqrtm(sqrtm(s) @ t @ sqrtm(s))))
    assert np.square(moved - a).sum(1).mean() == pytest.approx(bures, rel=1e-6)
    # Half-way is the barycentre: N(mean of means, ((I + A) / 2) S ((I + A) / 2)).
    half = (np.eye(d) + dense) / 2
    assert_allclose(np.cov(edit.neutral(a).T, bias=True), half @ s @ half.T, rtol=1e-7, atol=1e-8)


def test_transport_of_few_songs_moves_the_mean_and_the_spread() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=(31, 512)), 2 * rng.normal(size=(31, 512)) + 1])
    genre = np.repeat([SOURCE, TARGET], 31)
    edit = GaussianTransport(SOURCE, TARGET).fit(z, genre)
    assert 0.5 < edit.intensity_ <= 1 and edit.scale_ == pytest.approx(2, rel=0.05)
    fresh = rng.normal(size=(400, 512))
    moved = edit.transform(fresh)
    assert np.square(moved - moved.mean(0)).sum(1).mean() / 512 == pytest.approx(4, rel=0.15)
    same = GaussianTransport(SOURCE, TARGET).fit(np.concatenate([z[:31], z[:31]]), genre)
    assert_allclose(same.transform(fresh), fresh, atol=1e-6)


def test_transport_of_songs_carries_draws_onto_the_targets_draws() -> None:
    # Songs of a genre hardly differ (a saturated style network); a draw is mostly noise of a genre's own spread.
    rng = np.random.default_rng(0)
    d, k, genre = 64, 8, np.repeat([SOURCE, TARGET], 8)
    mu = np.concatenate([0.01 * rng.normal(size=(8, d)), 1 + 0.3 * rng.normal(size=(8, d))]).astype(np.float32)
    noise = np.where(genre == SOURCE, 1.0, 0.5)[:, None, None] * rng.normal(size=(16, k, d))
    blank = np.zeros((16, d), np.float32)
    songs = LatentTable(
        song=np.arange(16).astype(str), genre=genre, split=np.full(16, ""), start_s=np.zeros(16), end_s=np.ones(16),
        mu=mu, sigma=blank, spread=blank, draws=(mu[:, None] + noise).astype(np.float32), style=blank[:, :0],
    )  # fmt: skip
    moved = make("transport").fit_on_songs(songs).transform(songs.draws[:8].reshape(-1, d))
    there = songs.draws[8:].reshape(-1, d)

    def spread(z: np.ndarray) -> float:
        return float(np.square(z - z.mean(0)).sum(1).mean() ** 0.5)

    assert_allclose(moved.mean(0), there.mean(0), atol=1e-5)
    assert spread(moved) == pytest.approx(spread(there), rel=0.15)
    assert spread(make("transport").fit(mu, genre).transform(songs.draws[:8].reshape(-1, d))) > 5 * spread(there)
    # The other directions only use means: those over the noise.
    assert_allclose(make("mean_shift").fit_on_songs(songs).source_mean_, mu[:8].mean(0), atol=1e-6)


# -- axes and the control ---------------------------------------------------------------------------------------


def test_principal_axes_find_the_planted_axis() -> None:
    rng = np.random.default_rng(0)
    axis = rng.normal(size=512)
    axis /= np.linalg.norm(axis)
    along = rng.normal(size=62) * 30
    z = rng.normal(size=(62, 512)) + along[:, None] * axis
    genre = np.where(along > 0, SOURCE, TARGET)
    edit = PrincipalAxes(SOURCE, TARGET).fit(z, genre)
    assert edit.axis_ == 0
    assert float(edit.shift(z[0]) @ axis) < -0.95 * 25, "from waltz to chacha is down the axis, one deviation long"
    assert np.std(edit.neutral(z) @ edit.components_[0]) < 1e-9
    assert PrincipalAxes(axis=3).fit(z, genre).axis_ == 3
    with pytest.raises(D2MError, match="axis 99"):
        PrincipalAxes(axis=99).fit(z, genre)


@pytest.mark.parametrize("kind", ["sphere", "songs"])
def test_the_control_is_as_long_and_seeded(kind: str) -> None:
    z, genre, _ = SONGS
    shift = MeanShift(SOURCE, TARGET).fit(z, genre).shift(z)
    a, b, c = (RandomDirection(SOURCE, TARGET, seed=s, kind=kind).fit(z, genre).shift(z) for s in (0, 0, 1))
    assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(shift), rel=1e-5)
    assert np.array_equal(a, b) and abs(a @ c) / (a @ a) < 0.6
