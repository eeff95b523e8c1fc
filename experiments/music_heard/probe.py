"""Can the genre be read off z_dan? A linear probe fitted on training songs and tested on held-out ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable
from d2m.stats.structure import linear_probe

#: Inverse L2 penalties of which cross-validation within the training songs chooses one, the strongest first.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


def fit_probe(table: LatentTable, seed: int = 0) -> Any:
    """Standardised logistic regression on the rows of a table; penalty by cross-validation by song, genres even.

    Of equally good penalties the strongest is taken. With a genre of one song there is nothing to choose by: the
    third one.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    middle = PENALTIES[len(PENALTIES) // 2]
    # The rotation changes nothing for an L2 penalty; with fewer songs than dimensions it leaves little to fit.
    model = make_pipeline(
        StandardScaler(),
        PCA(svd_solver="full"),
        LogisticRegression(C=middle, class_weight="balanced", max_iter=200, tol=1e-3),
    )
    fewest = min(len(set(table.song[table.genre == g].tolist())) for g in table.genres)
    if fewest < 2:
        return model.fit(table.mu, table.genre)
    folds = StratifiedGroupKFold(min(3, fewest), shuffle=True, random_state=seed)
    search = GridSearchCV(
        model, {"logisticregression__C": PENALTIES}, scoring="balanced_accuracy", cv=folds, refit=True
    )
    return search.fit(table.mu, table.genre, groups=table.song).best_estimator_


def predicted_songs(model: Any, table: LatentTable) -> dict[str, str]:
    """Song -> the genre with the largest mean log-probability over its rows."""
    votes = model.predict_log_proba(table.mu)
    names = np.unique(table.song)
    said = [model.classes_[votes[table.song == s].mean(0).argmax()] for s in names]
    return dict(zip(names.tolist(), map(str, said), strict=True))


def probe_run(table: LatentTable, seed: int = 0) -> dict[str, str]:
    """Held-out song -> genre, by a probe of the training songs' rows."""
    train: NDArray[np.bool_] = table.split == "train"
    return predicted_songs(fit_probe(table.select(train), seed), table.select(~train))


def older_probe(table: LatentTable, permutations: int, seed: int) -> dict[str, float]:
    """The probe of experiments/genre_structure: discriminant analysis cross-validated among the held-out songs alone.

    Weaker, for it has a dozen songs to learn from. {} where there are too few.
    """
    held = table.select(table.split != "train").by_song()
    try:
        return linear_probe(held.mu, held.genre, permutations=permutations, seed=seed).summary()
    except D2MError:
        return {}
