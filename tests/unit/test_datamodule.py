"""Music that is changed in training: as the front end says, by the batch's own draw, and in training alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from corpora import write_raw

from d2m.core.errors import D2MError
from d2m.data.datamodule import DanceDataModule
from d2m.music.front_ends import front_end
from d2m.music.front_ends.augment import change_rows, draw_change
from d2m.prepare.run import prepare

RANGES = {"semitones": 4, "tempo": 1.3, "gain_db": 9.0, "attack": 1.5, "eq_db": 3.0}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("augment")
    raw = write_raw(root / "raw", {"a": "groove", "b": "groove", "c": "groove", "d": "flow"}, seconds=12.0)
    return prepare(raw, root, [0], "rhythm", workers=1, val_fraction=0.34, test_fraction=0.0)


def data(corpus: Path, kind: str = "songs", **options: Any) -> DanceDataModule:
    return DanceDataModule(str(corpus), kind, **{"batch_size": 6, "steps_per_epoch": 3, "augment": RANGES, **options})


def raw(d: DanceDataModule, epoch: int = 0, batch: int = 0) -> dict[str, Any]:
    return d.train_dataloader().dataset[epoch, batch]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    a, b = ({k: v for k, v in x.items() if k != "change"} for x in (one, other))
    equal = all(torch.equal(a[k].nan_to_num(), b[k].nan_to_num()) for k in a)
    return a.keys() == b.keys() and equal and all(map(torch.equal, one["change"], other["change"]))


@pytest.mark.parametrize("kind", ["songs", "sequences"])
def test_a_batch_is_the_normalised_change_of_its_raw_rows(corpus: Path, kind: str) -> None:
    d = data(corpus, kind, span_features=kind == "sequences")
    before = raw(d)
    after = d.on_after_batch_transfer(before)
    assert "change" not in after and "change" in before
    for name in {"features", "span_features"} & before.keys():
        frames = 30 if name == "features" else 96
        rows = change_rows(front_end("rhythm"), before[name], before["change"], frames)
        torch.testing.assert_close(after[name], d.corpus.normalizer.normalize_features(rows))
        outside = (before[name].shape[1] - frames) // 2
        unchanged = d.corpus.normalizer.normalize_features(before[name][:, outside : outside + frames])
        assert (after[name] - unchanged).abs().max() > 0.1
    torch.testing.assert_close(after["rate"], before["change"].tempo.log2())
    assert after["rate"].abs().max() > 0.05
    if kind == "songs":
        torch.testing.assert_close(after["tempo"], before["tempo"] + after["rate"], equal_nan=True)


def test_the_changes_are_a_function_of_seed_epoch_and_batch(corpus: Path) -> None:
    one = raw(data(corpus), 1, 2)
    assert same(one, raw(data(corpus), 1, 2))
    for other in (raw(data(corpus), 1, 1), raw(data(corpus), 0, 2), raw(data(corpus, seed=1), 1, 2)):
        assert not torch.equal(one["change"].tempo, other["change"].tempo)
    # What is drawn without augmentation is drawn with it; a faster song is read from more frames around.
    plain = raw(data(corpus, augment=None), 1, 2)
    margin = (one["features"].shape[1] - 30) // 2
    assert margin == math.ceil(15 * (RANGES["tempo"] - 1)) > 0
    one["features"] = one["features"][:, margin : margin + 30]
    assert "change" not in plain and all(plain[k].shape == one[k].shape for k in plain)
    inside = (plain["features"] == one["features"]).all(-1)
    assert inside.any(1).all()  # at a song's ends its last frame holds
    assert all(torch.equal(plain[k].nan_to_num(), one[k].nan_to_num()) for k in plain.keys() - {"features"})


def test_validation_hears_the_songs_as_they_are(corpus: Path) -> None:
    with_it, without = (list(data(corpus, augment=a).val_dataloader()) for a in (RANGES, None))
    assert with_it and len(with_it) == len(without)
    for a, b in zip(with_it, without, strict=True):
        assert a.keys() == b.keys() and "change" not in a and torch.equal(a["features"], b["features"])


def test_repeated_batches_are_those_of_the_first_epoch_and_others_differ(corpus: Path) -> None:
    def epoch(number: int, repeat: int | None) -> list[dict[str, Any]]:
        loader = data(corpus, repeat_batches=repeat).train_dataloader()
        loader.sampler.set_epoch(number)
        return list(loader)

    first = epoch(0, None)
    for number in (0, 5):
        a, b, c = epoch(number, 2)
        assert same(a, first[0]) and same(b, first[1]) and same(c, first[0])
    assert not same(epoch(5, None)[0], first[0])
    for none in ({"repeat_batches": 0}, {"steps_per_epoch": 0}):
        with pytest.raises(D2MError, match="at least 1"):
            data(corpus, **none)


def test_ranges_are_checked_before_training(corpus: Path) -> None:
    for ranges, says in (({"pitch": 1}, "augment.pitch: no such change"), ({"tempo": 0.5}, "augment.tempo=0.5")):
        with pytest.raises(D2MError, match=says):
            data(corpus, augment=ranges).setup("fit")


def test_no_range_no_change() -> None:
    still = draw_change(5, torch.Generator().manual_seed(0), semitones=0, tempo=1, gain_db=0, attack=1, eq_db=0)
    assert all((part == neutral).all() for part, neutral in zip(still, (0, 1, 0, 1, 0), strict=True))
