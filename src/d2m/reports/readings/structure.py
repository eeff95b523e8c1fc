"""Genre structure in z_dan."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2m.dance.table import LatentTable
from d2m.draw.plots import latent as figures
from d2m.reports.readings.reading import Reading, test_row
from d2m.stats.labels import song_labels
from d2m.stats.nulls import shuffles
from d2m.stats.structure import Tested, explained_variance, linear_probe, pca, silhouette, tsne
from d2m.stats.variance import variance_components


def structure_reading(table: LatentTable, permutations: int = 999, seed: int = 0, side: str = "music") -> Reading:
    """Genre structure in mu: PCA, t-SNE, silhouette and probe with their nulls, variance components.

    Args:
        side: for titles and file names; "dance" for z_dan from the dance encoder, anything else for music.

    Raises:
        D2MError: fewer than two genres or four songs.
    """
    stem = side.replace(" ", "_")
    songs = table.by_song()
    z, genre = songs.mu.astype(np.float64), songs.genre
    probe = linear_probe(table.mu, table.genre, table.song, permutations=permutations, seed=seed)
    shape = silhouette(z, genre, permutations, seed)
    curve = explained_variance(z, seed=seed)
    names, _, of_song = song_labels(genre)
    shuffled = [names[i] for i in shuffles(of_song, 1, seed)[1]]
    scores, shares = pca(z)
    embeddings = {"PCA": scores, "t-SNE": tsne(z, seed)}
    k = min(30, len(z) - 1)
    embeddings[f"PCA ({k}) + t-SNE"] = tsne(z, seed, n_pca=k)
    flat = {name: silhouette(p, genre, permutations, seed) for name, p in embeddings.items()}
    second = shares[1] if len(shares) > 1 else 0.0
    panels = figures.embedding_panels(
        embeddings,
        genre.tolist(),
        shuffled,
        title=f"z_dan from {side}, one point per song (mu)",
        axis_labels={"PCA": (_component(1, shares[0]), _component(2, second))},
        notes={n: _silhouette_notes(t) for n, t in flat.items()},
    )
    band = figures.explained_variance_curve(
        curve.observed, curve.null_low, curve.null_median, curve.null_high, n=len(z), d=z.shape[1],
        title=f"Cumulative explained variance of z_dan from {side}",
    )  # fmt: skip
    drawn = {f"{what} ({side})": (t.value, t.null, t.p) for what, t in (("linear probe", probe), ("silhouette", shape))}
    numbers: dict[str, Any] = {
        "songs": len(z), "genres": {g: int((genre == g).sum()) for g in names}, "width": z.shape[1],
        "probe": probe.summary(), "silhouette": shape.summary(),
        "embedding_silhouettes": {n: t.summary() for n, t in flat.items()},
        "components_for_half_of_variance": int(np.argmax(curve.observed >= 0.5)) + 1,
        "components_for_half_of_variance_null": int(np.argmax(curve.null_median >= 0.5)) + 1,
        "first_two_components": float(curve.observed[min(1, len(shares) - 1)]),
        "mean_sigma": float(table.sigma.mean()), "mean_spread": float(table.spread.mean()),
    }  # fmt: skip
    drawings = {
        f"embeddings_{stem}": (panels, "Left: genres. Right: the same points under shuffled labels."),
        f"explained_variance_{stem}": (band, "Grey: what as many isotropic points in as many dimensions show."),
    }
    if permutations:
        drawings[f"nulls_{stem}"] = (
            figures.null_histograms(
                drawn,
                units={
                    f"linear probe ({side})": "balanced accuracy over songs",
                    f"silhouette ({side})": "mean silhouette",
                },
            ),
            "Labels shuffled between songs; the probe is cross-validated with whole songs held out.",
        )
    if table.draws.shape[1] > 1 and len(z) > len(names):
        parts = variance_components(songs.draws, genre, permutations, seed)
        numbers["variance"] = {
            "genre": parts.genre, "song": parts.song, "noise": parts.noise, "genre_p": parts.genre_p,
            "shares": parts.shares(),
        }  # fmt: skip
        noise = "noise of a draw" if side != "dance" else "choice of sequence and noise"
        shares_figure = figures.variance_shares(
            {side: parts.shares()}, title=f"Where the variance of z_dan from {side} comes from"
        )
        drawings[f"variance_{stem}"] = (
            shares_figure, f"Nested random effects on {table.draws.shape[1]} draws per song; noise: {noise}.",
        )  # fmt: skip
    text = (
        "z_dan from music is computed from the state of a genre classifier, so genres are apart in it by construction; "
        "this says how far, not that dances differ."
        if side != "dance"
        else "z_dan from dance never saw a genre label; its noise includes which sequences of a dance were read."
    )
    rows = [test_row("linear probe, balanced accuracy", probe), test_row("silhouette, all dimensions", shape)]
    rows += [test_row(f"silhouette, {n}", t) for n, t in flat.items()]
    caption = f"{len(z)} songs, {z.shape[1]} dimensions, {permutations} permutations of genres between songs"
    return Reading(f"Genres in z_dan from {side}", text, numbers, drawings, rows, caption)


def _component(k: int, share: float) -> str:
    return f"component {k} ({100 * share:.0f}% of variance)"


def _silhouette_notes(t: Tested) -> tuple[str, str]:
    high = float(np.quantile(t.null, 0.95)) if len(t.null) else float("nan")
    return f"silhouette {t.value:.2f}, p = {t.p:.3g}", f"95% of shuffles have a silhouette below {high:.2f}"
