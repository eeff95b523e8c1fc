"""Batches: music changed in training alone, and what each of several processes reads of them."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
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


def of(rank: int, world: int, corpus: Path, kind: str, limit: int | float = 1.0, **options: Any) -> DanceDataModule:
    """The data of one process of several."""
    d = data(corpus, kind, **options)
    d.trainer = SimpleNamespace(global_rank=rank, world_size=world, limit_val_batches=limit)  # type: ignore[assignment]
    return d


@pytest.mark.parametrize("kind", ["unit_pairs", "units", "songs", "sequences"])
def test_processes_read_the_rows_of_one_batch(corpus: Path, kind: str) -> None:
    options = {} if kind in ("songs", "sequences") else {"augment": None}
    whole = raw(data(corpus, kind, **options), 1, 2)
    parts = [raw(of(rank, 3, corpus, kind, **options), 1, 2) for rank in range(3)]
    assert all(len(part["genre"]) == 2 and part.keys() == whole.keys() for part in parts)
    joined = {k: torch.cat([part[k] for part in parts]) for k in whole.keys() - {"change"}}
    if "change" in whole:
        joined["change"] = [torch.cat(fields) for fields in zip(*(part["change"] for part in parts), strict=True)]
        assert same(joined, whole)
    assert all(torch.equal(joined[k].nan_to_num(), whole[k].nan_to_num()) for k in whole.keys() - {"change"})
    again = of(2, 3, corpus, kind, **options).train_dataloader().dataset
    assert torch.equal(again.whole((1, 2))["genre"], whole["genre"])
    assert len(of(0, 3, corpus, kind, steps_per_epoch=None, **options).train_dataloader()) == len(
        data(corpus, kind, steps_per_epoch=None, **options).train_dataloader()
    )


@pytest.mark.parametrize(("limit", "n"), [(1.0, None), (3, 3)])
def test_processes_walk_through_validation_together(corpus: Path, limit: int | float, n: int | None) -> None:
    options: dict[str, Any] = {"batch_size": 1, "augment": None}
    whole = list(of(0, 1, corpus, "units", limit, **options).val_dataloader())
    assert len(whole) == n or (n is None and len(whole) > 3)
    walks = [list(of(rank, 4, corpus, "units", limit, **options).val_dataloader()) for rank in range(4)]
    assert {len(walk) for walk in walks} == {-(-len(whole) // 4)}
    counted = {b["number"]: b for walk in walks for b in walk if b["number"] is not None}
    assert sorted(counted) == [b["number"] for b in whole] == list(range(len(whole)))
    assert all(torch.equal(counted[b["number"]]["units"], b["units"]) for b in whole)
    assert sum(b["number"] is None for walk in walks for b in walk) == -len(whole) % 4


def test_a_batch_that_does_not_divide_is_refused(corpus: Path) -> None:
    with pytest.raises(D2MError, match="batch_size=6: give a multiple of 4"):
        of(0, 4, corpus, "units", augment=None).train_dataloader()
