"""The commands of ``d2m study``, and infer.py with their files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from d2m.bundle import read_bundle, write_bundle
from d2m.cli.overrides import prepare_overrides
from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.dance.dancer import Dancer
from d2m.dance.files import describe
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.dance.together import dance_to
from d2m.edits.optimised_dance import OptimisedEdit
from d2m.edits.request import EditRequest, build_edit, training_songs
from d2m.edits.strength import Schedule
from d2m.reports.report import two_genres
from tests.commands import called, d2m

REPO = Path(__file__).parents[2]
BEATS = np.arange(0.3, 40, 0.5)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two genres of six songs of 3 s, in a folder with a difficult name."""
    root = tmp_path_factory.mktemp("m") / "my songs, (1)=[x]"
    rng = np.random.default_rng(0)
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    for genre, pitch in (("waltz", 220), ("cha cha", 880)):
        (root / genre).mkdir(parents=True)
        for k in range(6):
            wave = 0.3 * np.sin(2 * np.pi * pitch * (1 + 0.1 * k) * t) + 0.02 * rng.normal(size=len(t))
            soundfile.write(root / genre / f"{k}.wav", wave, SAMPLE_RATE)
    return root


@pytest.fixture(scope="module")
def latents(tiny_bundle: Path, music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("latents")
    d2m("study", "extract", f"bundle={tiny_bundle}", f"music={music}", f"out={out}")
    return out / "latents.npz"


@pytest.fixture(scope="module")
def generator(tiny_bundle: Path) -> DanceGenerator:
    return DanceGenerator.load(tiny_bundle)


def test_extract(latents: Path) -> None:
    table = LatentTable.load(latents)
    assert len(table) == 12 and table.genres == ["cha cha", "waltz"]
    assert len(list((latents.parent / "cache").iterdir())) == 12


def test_means_give_a_bundle_the_users_genres(
    tiny_bundle: Path, music: Path, latents: Path, tmp_path: Path, generator: DanceGenerator
) -> None:
    bundle = tmp_path / "my bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "resume" / "mm_gan").mkdir(parents=True)  # as an import of the original weights leaves them
    (bundle / "resume" / "mm_gan" / "last.ckpt").write_text("the only moments")
    (bundle / "notes.txt").write_text("mine")
    d2m("study", "means", f"bundle={bundle}", f"music={music}", f"out={bundle}")
    assert (bundle / "resume" / "mm_gan" / "last.ckpt").read_text() == "the only moments"
    assert (bundle / "notes.txt").read_text() == "mine"
    after = read_bundle(bundle)  # checks every digest and the seal
    assert set(after.genre_means) == {"flow", "groove", "drive", "waltz", "cha cha"}
    table = LatentTable.load(latents)
    np.testing.assert_allclose(after.genre_means["waltz"], table.mu[table.genre == "waltz"].mean(0), atol=1e-5)
    assert after.provenance["genre_means"][0]["genres"] == {"cha cha": 6, "waltz": 6}
    assert after.provenance["files"]["weights.safetensors"] == generator.provenance["files"]["weights.safetensors"]
    assert after.genres == ("flow", "groove", "drive") and "waltz (6 songs)" in (bundle / "CARD.md").read_text()
    d2m("study", "means", f"bundle={bundle}", f"music={music}", f"out={tmp_path / 'only'}", "keep=false")
    assert set(read_bundle(tmp_path / "only").genre_means) == {"waltz", "cha cha"}
    (tmp_path / "only" / "resume").mkdir()
    with pytest.raises(D2MError, match="contains resume besides a bundle"):  # of other weights, not to be mixed
        d2m("study", "means", f"bundle={bundle}", f"music={music}", f"out={tmp_path / 'only'}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not delete")
    with pytest.raises(D2MError, match="not a bundle"):
        d2m("study", "means", f"bundle={bundle}", f"music={music}", f"out={tmp_path / 'mine'}")


@pytest.mark.parametrize("name", ["mean_shift", "boundary", "erasure", "transport", "axes", "random"])
def test_fit_writes_what_infer_reads(
    name: str, tiny_bundle: Path, latents: Path, tmp_path: Path, generator: DanceGenerator, song_features: np.ndarray
) -> None:
    out = tmp_path / "dir ection"
    source = None if name == "erasure" else "waltz"
    d2m("study", "fit", f"bundle={tiny_bundle}", f"latents={latents}", f"out={out}", f"edit={name}", "target=cha cha",
          *([f"source={source}"] if source else []))  # fmt: skip
    request = EditRequest(file=str(out))
    edit = build_edit(request, generator)
    dance = dance_to(generator, song_features, BEATS[BEATS < 10], 150, seed=0, edit=edit)
    assert not np.allclose(dance.poses["target"], dance.poses["original"])
    same = build_edit(EditRequest(name, source, "cha cha", latents=str(latents)), generator)
    z = dance.z_dan["original"]
    assert np.array_equal(edit.transform(z, 0.5), same.transform(z, 0.5))


def test_what_does_not_fit_is_refused(
    tiny_bundle: Path, latents: Path, tmp_path: Path, generator: DanceGenerator
) -> None:
    base = [f"bundle={tiny_bundle}", f"latents={latents}", f"out={tmp_path / 'd'}"]
    for more, message in (
        (["edit=magic"], "unknown direction"),
        (["source=waltz"], "give target"),
        (["source=waltz", "target=polka"], "'polka'"),
        (["source=waltz", "target=cha cha", "method=lda"], "does not take method"),
        (["sauce=waltz"], "sauce: no such key"),
        (["seed=x"], "seed=x"),
        (["music=here"], "give one of"),
        (["bundle=none"], "none: no such bundle"),
    ):
        with pytest.raises(D2MError, match=message):
            d2m("study", "fit", *base, *more)
    d2m("study", "fit", *base, "edit=boundary", "source=waltz", "target=cha cha")
    with pytest.raises(D2MError, match="holds boundary, not transport"):
        build_edit(EditRequest("transport", file=str(tmp_path / "d")), generator)
    with pytest.raises(D2MError, match="its target is cha cha, not tango"):
        build_edit(EditRequest(target="tango", file=str(tmp_path / "d")), generator)
    index = tmp_path / "d" / "direction.json"
    text = index.read_text()
    space = json.loads(text)["space"]
    index.write_text(text.replace(space, "0" * 64))
    with pytest.raises(D2MError, match="another bundle"):
        build_edit(EditRequest(file=str(index)), generator)
    for name in ("boundary", "erasure", "transport"):
        with pytest.raises(D2MError, match=r"edit\.latents=FILE"):
            build_edit(EditRequest(name, None if name == "erasure" else "flow", "drive"), generator)
    with pytest.raises(D2MError, match=r"needs edit\.target=GENRE; genres are drive, flow, groove"):
        build_edit(EditRequest("mean_shift", "flow"), generator)
    with pytest.raises(D2MError, match="needs an edit"):
        build_edit(EditRequest(source="flow"), generator)
    with pytest.raises(D2MError, match="choose none, mean_shift"):
        build_edit(EditRequest("magic"), generator)


def test_report(tiny_bundle: Path, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "a report"
    d2m("study", "report", f"bundle={tiny_bundle}", f"music={music}", f"out={out}", "permutations=49",
        "dances=2", "edits=1", "source=waltz", "target=cha cha")  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report["structure"]["songs"] == 12 and report["structure"]["probe"]["p"] <= 1
    assert {r["direction"] for r in report["directions"]["directions"]} >= {"mean_shift", "erasure", "random"}
    assert len(report["music_edits"]["edits"]) == 9 and report["motion"]["dances"] == 2
    page = (out / "index.html").read_text()
    assert page.count("<img") == len(list((out / "figures").glob("*.png"))) >= 8
    assert "NaN" not in json.dumps(report["structure"])


# -- what is fitted on, and what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean_shift", "boundary", "transport"])
def test_infer_and_fit_take_the_same_training_rows(
    name: str, tiny_bundle: Path, latents: Path, tmp_path: Path, generator: DanceGenerator
) -> None:
    table = LatentTable.load(latents)
    split = np.where(np.arange(len(table)) % 3 == 0, "test", "train")
    path = replace(table, split=split, mu=table.mu + 5 * (split == "test")[:, None]).save(tmp_path / "splits.npz")
    z = np.ones((1, 8), np.float32)

    def by_infer(**more: str) -> np.ndarray:
        return build_edit(EditRequest(name, "waltz", "cha cha", latents=str(path), **more), generator).transform(z)

    def by_fit(*more: str) -> np.ndarray:
        d2m("study", "fit", f"bundle={tiny_bundle}", f"latents={path}", f"out={tmp_path / 'd'}", f"edit={name}",
              "source=waltz", "target=cha cha", *more)  # fmt: skip
        return build_edit(EditRequest(file=str(tmp_path / "d")), generator).transform(z)

    assert np.array_equal(by_infer(), by_fit())
    everything = by_infer(rows="all")
    assert not np.allclose(everything, by_infer(), atol=1e-6)
    with pytest.raises(D2MError, match="rows=some: choose train"):
        by_infer(rows="some")


def test_the_optimisers_prior_is_of_training_rows(tiny_bundle: Path, latents: Path) -> None:
    table = LatentTable.load(latents)
    split = np.where(np.arange(len(table)) % 3 == 0, "test", "train")
    marked = replace(table, split=split, draws=table.draws + 100 * (split == "test")[:, None, None])
    edit = OptimisedEdit("waltz", "cha cha").fit_on_songs(training_songs(marked))
    assert float(edit.prior_.mean.abs().max()) < 10 and edit.start_.width == 8


@pytest.mark.parametrize("given", [{"strength": 0.5}, {"latents": "x.npz"}, {"rows": "all"}, {"steps": 3}])
def test_what_is_asked_of_no_edit_is_refused(given: dict[str, object], generator: DanceGenerator) -> None:
    with pytest.raises(D2MError, match=f"edit.{next(iter(given))} needs an edit"):
        build_edit(EditRequest.of({"name": "none", **given}), generator)


def test_erasure_takes_no_source(tiny_bundle: Path, latents: Path, tmp_path: Path, generator: DanceGenerator) -> None:
    with pytest.raises(D2MError, match="erasure does not take source"):
        d2m("study", "fit", f"bundle={tiny_bundle}", f"latents={latents}", f"out={tmp_path}", "edit=erasure",
            "source=waltz")  # fmt: skip
    with pytest.raises(D2MError, match="erasure does not take source"):
        build_edit(EditRequest("erasure", "waltz", "cha cha", latents=str(latents)), generator)


def test_the_json_names_the_latents(tiny_bundle: Path, latents: Path, music: Path, generator: DanceGenerator) -> None:
    edit = build_edit(EditRequest("boundary", "waltz", "cha cha", latents=str(latents)), generator)
    told = describe(Dancer(generator)(music / "waltz" / "0.wav", edit=edit))["edit"]
    assert told["latents"] == str(latents) and told["rows"] == "train" and told["params"]["method"] == "lda"


def test_means_rewrite_the_cards_line(tiny_bundle: Path, music: Path, tmp_path: Path) -> None:
    a = read_bundle(tiny_bundle)
    config = {k: v for k, v in a.config.items() if k != "format"}
    text = "# an import\n\n- Genres: x\n- Genre means: none. They come from songs.\n\nLicence: theirs.\n"
    bare = write_bundle(
        tmp_path / "import", config=config, state=a.state, normalizer=a.normalizer, genres=a.genres, genre_means={},
        provenance={}, card=text,
    )  # fmt: skip
    d2m("study", "means", f"bundle={bare}", f"music={music}", f"out={bare}")
    card = (bare / "CARD.md").read_text()
    assert "Genre means: none" not in card and card.count("- Genre means:") == 1
    assert "waltz (6 songs)" in card and card.endswith("Licence: theirs.\n")


# -- strength over time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warp", [True, False])
def test_a_schedule_moves_the_dance_along_the_song(generator: DanceGenerator, warp: bool) -> None:
    features = np.random.default_rng(2).normal(size=(600, 28)).astype(np.float32)
    edit = build_edit(EditRequest("mean_shift", "flow", "drive"), generator)
    options = {"seed": 3, "edit": edit, "warp": warp}
    whole = dance_to(generator, features, BEATS, 600, **options)
    ramp = dance_to(generator, features, BEATS, 600, strength=Schedule.parse([[10, 0], [30, 1]]), **options)
    shift = generator.genre_means["drive"] - generator.genre_means["flow"]
    amount = (ramp.z_dan["target"] - ramp.z_dan["original"]) @ shift / (shift @ shift)
    assert (np.diff(amount) >= -1e-6).all() and amount[0] == 0 and amount[-1] == pytest.approx(1, abs=1e-5)
    # Half of the way at half of the song, which is 40 s of 600 frames, or 640 where 80 beats of 8 frames are put on it.
    middle = (320 if warp else 300) / 96 - 0.5
    assert np.interp(middle, np.arange(len(amount)), amount) == pytest.approx(0.5, abs=0.03)
    # Before the ramp the dance is the original to the bit, after it the edited latents are the whole edit's.
    assert np.array_equal(ramp.poses["target"][:75], ramp.poses["original"][:75])
    np.testing.assert_allclose(ramp.z_dan["target"][-1], whole.z_dan["target"][-1], atol=1e-5)
    assert not np.allclose(ramp.poses["target"][-75:], ramp.poses["original"][-75:])


@pytest.mark.parametrize(
    ("arguments", "strength"),
    [
        (["edit=mean_shift", "edit.source=a b", "edit.target=b"], 1.0),
        (["edit=transport", "edit.source=a b", "edit.target=b", "edit.strength=0.5", "edit.latents=x, (1).npz"], 0.5),
        (["edit.file=a folder, b=[c]", "edit.schedule=[[0,0],[30,1]]"], Schedule((0, 30), (0, 1))),
    ],
)
def test_edits_from_the_command_line(arguments: list[str], strength: object) -> None:
    overrides = prepare_overrides(["bundle=b", "music=a", "out=o", *arguments])
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        request = EditRequest.of(compose("infer", overrides).edit)
    assert request.amount() == strength
    assert request.file in (None, "a folder, b=[c]") and request.latents in (None, "x, (1).npz")
    for bad in ({"strength": "much"}, {"strength": float("inf")}, {"strength": True}):
        with pytest.raises(D2MError, match="strength"):
            EditRequest.of(bad)
    with pytest.raises(D2MError, match=r"^edit\.schedule"):
        EditRequest(schedule=[[3]]).amount()
    with pytest.raises(D2MError, match="give one"):
        EditRequest(schedule=[[0, 0], [30, 1]], strength=2.0).amount()


def test_infer_with_a_fitted_direction_and_a_schedule(
    tiny_bundle: Path, music: Path, latents: Path, tmp_path: Path
) -> None:
    d2m("study", "fit", f"bundle={tiny_bundle}", f"latents={latents}", f"out={tmp_path / 'd'}", "edit=erasure",
          "target=waltz")  # fmt: skip
    d2m("infer", f"bundle={tiny_bundle}", f"music={music / 'waltz' / '0.wav'}", f"out={tmp_path / 'out'}",
        "video=false", f"edit.file={tmp_path / 'd'}", "edit.schedule=[[0,0],[3,1]]")  # fmt: skip
    facts = json.loads((tmp_path / "out" / "0.json").read_text())
    assert facts["edit"]["name"] == "erasure" and facts["edit"]["schedule"] == [[0, 0], [3, 1]]
    with np.load(tmp_path / "out" / "0.npz") as f:
        assert {"poses_original", "poses_neutral"} <= set(f.files)


# -- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["paint"], ["extract", "out=o"]])
def test_errors_of_use_are_one_line_and_exit_2(words: list[str]) -> None:
    done = called("study", *words)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "edit=erasure", "target=waltz", "shrinkage=2"], "shrinkage=2: give"),
        (["fit", "edit=transport", "source=waltz", "target=cha cha", "shrinkage=-1"], "shrinkage=-1: give"),
        (["fit", "edit=axes", "axis=1.5"], "axis=1.5: expected a whole number"),
        (["fit", "source=waltz", "target=waltz"], "both 'waltz'"),
        (["fit", "source=waltz", "target=cha cha", "device=abacus"], "device=abacus: not available"),
        (["fit", "source=waltz", "target=cha cha", "seed=99999999999999999999"], "seed=9+: give"),
        (["report", "seed=-1"], "seed=-1: give"),
        (["report", "permutations=-1"], "permutations=-1: give"),
        (["means", "corpus=DIR"], "corpus: no such key"),
    ],
)
def test_arguments_out_of_range_are_named(
    words: list[str], message: str, tiny_bundle: Path, latents: Path, music: Path, tmp_path: Path
) -> None:
    songs = f"latents={latents}" if words[0] == "fit" else f"music={music}"
    with pytest.raises(D2MError, match=message):
        d2m("study", words[0], f"bundle={tiny_bundle}", songs, f"out={tmp_path}", *words[1:])


def test_an_edit_goes_to_another_genre(generator: DanceGenerator) -> None:
    with pytest.raises(D2MError, match="both 'flow'"):
        build_edit(EditRequest("mean_shift", "flow", "flow"), generator)


def test_a_report_with_one_genre_given_takes_another_one(latents: Path) -> None:
    table = LatentTable.load(latents)
    assert two_genres(table, None, None) == ("cha cha", "waltz")
    assert two_genres(table, "waltz", None) == ("waltz", "cha cha")
    assert two_genres(table, None, "cha cha") == ("waltz", "cha cha")
    for source, target, message in (("jazz", None, "source=jazz: no song has"), ("waltz", "waltz", "two different")):
        with pytest.raises(D2MError, match=message):
            two_genres(table, source, target)
