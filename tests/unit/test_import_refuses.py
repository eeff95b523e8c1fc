"""What the import of the reference's checkpoints refuses: one line that names it, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from safetensors import SafetensorError

from d2m.bundle import CONFIG, read_bundle
from d2m.cli.import_original import main
from d2m.core.errors import D2MError
from d2m.original.convert import import_original
from d2m.original.names import STAGE1_NETWORKS, STAGE2_NETWORKS, STATS_FILES, STYLE_NETWORK
from tests.original_files import FILES, SIZES, arguments, content, modules, state_of, write, write_stats

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write(folder)
    return folder


def refused(cfg: DictConfig, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failed command prints; its exit code is 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(cfg)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
    return printed.err


class Bomb:
    """Unpickling this runs a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("key", ["stage1", "stage2", "style"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_truncated_file(source: Path, tmp_path: Path, key: str, kept: float, capsys: Any) -> None:
    data = (source / FILES[key]).read_bytes()
    bad = tmp_path / "bad.ckpt"
    bad.write_bytes(data[: int(len(data) * kept)])
    line = refused(arguments(source, tmp_path / "out", **{key: bad}), capsys)
    assert str(bad) in line and "damaged" in line
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]


@pytest.mark.parametrize("key", ["stage1", "stage2", "style"])
@pytest.mark.parametrize("protocol", [None, 2, 4])
def test_a_pickle_with_code_is_not_run(
    source: Path, tmp_path: Path, key: str, protocol: int | None, capsys: Any, recwarn: pytest.WarningsRecorder
) -> None:
    bad, mark = tmp_path / "bad.ckpt", tmp_path / "mark"
    if protocol is not None:
        bad.write_bytes(pickle.dumps({"initp_enc": Bomb(mark)}, protocol=protocol))
    else:
        torch.save({"initp_enc": {"enc.0.weight": torch.zeros(2)}, "extra": Bomb(mark)}, bad)
    line = refused(arguments(source, tmp_path / "out", **{key: bad}), capsys)
    assert str(bad) in line and "none of it was run" in line and not recwarn.list
    assert protocol == 4 or "system" in line
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(10)},
            "another model (it holds conv1.weight",
        ),
        ({"generator": {"w": torch.zeros(2)}}, "another model (it holds generator"),
        ({"pytorch-lightning_version": "2", "state_dict": {}}, "a checkpoint of d2m"),
        ([torch.zeros(2)], "not contain a dictionary"),
        ({0: torch.zeros(2)}, "not contain a dictionary"),
        (torch.zeros(3), "not contain a dictionary"),
    ],
)
@pytest.mark.parametrize("key", ["stage1", "stage2", "style"])
def test_another_models_checkpoint(source: Path, tmp_path: Path, key: str, made: Any, says: str, capsys: Any) -> None:
    bad = tmp_path / "bad.ckpt"
    torch.save(made, bad)
    line = refused(arguments(source, tmp_path / "out", **{key: bad}), capsys)
    assert str(bad) in line and says in line
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]


@pytest.mark.parametrize("asked", ["stage1", "stage2", "style"])
@pytest.mark.parametrize("given", ["stage1", "stage2", "style"])
def test_one_file_in_anothers_place(source: Path, tmp_path: Path, asked: str, given: str, capsys: Any) -> None:
    if asked == given:
        return
    line = refused(arguments(source, tmp_path / "out", **{asked: source / FILES[given]}), capsys)
    assert FILES[given] in line and f"give it as {given}=" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["z_ini", "z_mov", "movement_hidden", "unit_hidden"])
def test_stages_of_different_sizes(source: Path, tmp_path: Path, size: str, capsys: Any) -> None:
    other = write(tmp_path / "other", {**SIZES, size: SIZES[size] + 1})
    line = refused(arguments(source, tmp_path / "out", stage2=other["stage2"]), capsys)
    assert str(other["stage2"]) in line and "Stage1.ckpt" in line and "has shape" in line
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def _spoilt(source: Path, tmp_path: Path, key: str, edit: Edit) -> Path:
    one, two = modules()
    made = {
        "stage1": lambda: content(one, STAGE1_NETWORKS), "stage2": lambda: content(two, STAGE2_NETWORKS),
        "style": lambda: state_of(two, "", STYLE_NETWORK),
    }[key]()  # fmt: skip
    edit(made)
    torch.save(made, tmp_path / "spoilt.ckpt")
    return tmp_path / "spoilt.ckpt"


PLACES = [("stage1", n) for n in STAGE1_NETWORKS] + [("stage2", n) for n in STAGE2_NETWORKS] + [("style", "")]


@pytest.mark.parametrize(("key", "network"), PLACES)
@pytest.mark.parametrize("how", ["missing", "extra", "wider", "flat"])
@pytest.mark.parametrize("position", [0, 1, -2, -1])
def test_every_tensor_is_accounted_for(
    source: Path, tmp_path: Path, key: str, network: str, how: str, position: int, capsys: Any
) -> None:
    spoilt_name = ""

    def edit(made: dict[str, Any]) -> None:
        nonlocal spoilt_name
        state = made[network] if network else made
        name = list(state)[position]
        if how == "missing":
            del state[name]
        elif how == "extra":
            name = f"{name}_more"
            state[name] = torch.zeros(3)
        elif how == "wider":
            state[name] = torch.zeros(state[name].shape[0] + 1, *state[name].shape[1:])
        else:
            state[name] = torch.zeros(state[name].numel(), 1, 1, 1)
        spoilt_name = f"{network}.{name}" if network else name

    bad = _spoilt(source, tmp_path, key, edit)
    line = refused(arguments(source, tmp_path / "out", **{key: bad}), capsys)
    assert str(bad) in line and f"'{spoilt_name}'" in line
    assert [p.name for p in tmp_path.iterdir()] == ["spoilt.ckpt"]


@pytest.mark.parametrize(
    ("key", "edit", "says"),
    [
        ("stage1", lambda c: c.pop("movement_enc"), "network 'movement_enc' is missing"),
        ("stage2", lambda c: c.pop("dance_reg"), "network 'dance_reg' is missing"),
        ("stage2", lambda c: c.update(dance_reg=3), "network 'dance_reg' is missing"),
        ("stage1", lambda c: c.update(pose_gan={}), "'pose_gan' is not part"),
        ("stage1", lambda c: c["stdp_dec"].update({"pose_g.0.bias": torch.full((11,), torch.nan)}), "NaN"),
        ("stage1", lambda c: c["stdp_dec"].update({"pose_g.0.bias": 3}), "'stdp_dec.pose_g.0.bias' is not a tensor"),
        ("style", lambda c: c.update(epoch=3), "'epoch' is not a tensor"),
        ("stage1", lambda c: c["stdp_dec"].update({"recurrent.weight_hh_l1": torch.zeros(33, 11)}), "one GRU layer"),
        ("stage1", lambda c: c.update(total_it="many"), "'total_it' is not a count"),
        ("stage1", lambda c: c["opt_stdp_dec"]["param_groups"][0]["params"].pop(), "'opt_stdp_dec' does not fit"),
        ("stage1", lambda c: c["opt_stdp_dec"]["state"][0].update(exp_avg=torch.zeros(2)), "'exp_avg' of 'z2init"),
        ("stage1", lambda c: c["opt_stdp_dec"]["state"][0].pop("exp_avg"), "not an Adam state"),
        ("stage2", lambda c: c.update(opt_dance_reg=[]), "not an Adam state"),
    ],
)
def test_what_else_a_file_may_lack(source: Path, tmp_path: Path, key: str, edit: Edit, says: str, capsys: Any) -> None:
    bad = _spoilt(source, tmp_path, key, edit)
    assert says in refused(arguments(source, tmp_path / "out", **{key: bad}), capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["spoilt.ckpt"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"genres": "a,b"}, "has 4 classes"), ({"genres": ["a", "b", "c", "a"]}, "4 different names"),
        ({"genres": "a,b,c,"}, "4 different names"), ({"unit_decoder": "mine"}, "unit_decoder=mine"),
        ({"stats": "nowhere"}, "nowhere: no such folder"), ({"style": "???"}, "give style=..."),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(source: Path, tmp_path: Path, more: dict[str, Any], says: str, capsys: Any) -> None:
    cfg = arguments(source, tmp_path / "out")
    cfg.update(more)
    assert says in refused(cfg, capsys)
    assert not list(tmp_path.iterdir())


def test_no_file(source: Path, tmp_path: Path, capsys: Any) -> None:
    assert "no such file" in refused(arguments(source, tmp_path / "out", stage1=tmp_path / "x"), capsys)


@pytest.mark.parametrize("name", STATS_FILES)
@pytest.mark.parametrize("how", ["missing", "short", "text", "nan", "pickle"])
def test_bad_statistics_are_named(source: Path, tmp_path: Path, name: str, how: str, capsys: Any) -> None:
    stats = write_stats(tmp_path / "stats")
    if how == "missing":
        (stats / name).unlink()
    elif how == "text":
        (stats / name).write_text("mean")
    else:
        bad = {"short": np.ones(27), "nan": np.full(28, np.nan), "pickle": np.array([object()] * 28)}[how]
        np.save(stats / name, bad, allow_pickle=True)
    assert name in refused(arguments(source, tmp_path / "out", stats=stats), capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["stats"]


def test_a_deviation_of_zero(source: Path, tmp_path: Path, capsys: Any) -> None:
    stats = write_stats(tmp_path / "stats")
    np.save(stats / "all_aud_std.npy", np.zeros(28))
    assert "all_aud_std.npy" in refused(arguments(source, tmp_path / "out", stats=stats), capsys)


def test_other_files_are_never_replaced(source: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert "contains other files" in refused(arguments(source, out), capsys)
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]
    assert "is not a folder" in refused(arguments(source, out / "thesis.txt"), capsys)


def test_inputs_inside_the_replaced_bundle(source: Path, tmp_path: Path, capsys: Any) -> None:
    main(arguments(source, tmp_path / "out"))
    inside = tmp_path / "out" / "Stage1.ckpt"
    inside.write_bytes((source / "Stage1.ckpt").read_bytes())
    assert "which would be replaced" in refused(arguments(source, tmp_path / "out", stage1=inside), capsys)
    assert inside.is_file()


def test_a_failed_import_leaves_the_old_bundle(source: Path, tmp_path: Path, capsys: Any) -> None:
    main(arguments(source, tmp_path / "out"))
    before = (tmp_path / "out" / CONFIG).read_bytes(), json.dumps(read_bundle(tmp_path / "out").provenance)
    refused(arguments(source, tmp_path / "out", style=source / "Stage1.ckpt"), capsys)
    assert before == ((tmp_path / "out" / CONFIG).read_bytes(), json.dumps(read_bundle(tmp_path / "out").provenance))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda o: o["param_groups"][0].update(lr="quick"), "not an Adam state"),
        (lambda o: o["param_groups"][0].update(lr=float("nan")), "not an Adam state"),
        (lambda o: o["param_groups"][0].update(betas=0.9), "not an Adam state"),
        (lambda o: o["param_groups"][0].update(betas=(0.9, 2.0)), "not an Adam state"),
        (lambda o: o["state"][0].update(step=float("nan")), "'step' of 'z2init"),
        (lambda o: o["state"][0]["exp_avg_sq"].neg_(), "'exp_avg_sq' of 'z2init"),
        (lambda o: o["state"][0]["exp_avg"].fill_(torch.nan), "holds values that Adam cannot produce"),
    ],
)
def test_an_adam_that_could_not_go_on(source: Path, tmp_path: Path, edit: Edit, says: str, capsys: Any) -> None:
    bad = _spoilt(source, tmp_path, "stage1", lambda made: edit(made["opt_stdp_dec"]))
    line = refused(arguments(source, tmp_path / "out", stage1=bad), capsys)
    assert str(bad) in line and "'opt_stdp_dec'" in line and says in line


@pytest.mark.parametrize("made", [lambda v: v.to_sparse(), lambda v: v.to("meta")])
def test_tensors_without_plain_numbers(source: Path, tmp_path: Path, made: Any, capsys: Any) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["initp_enc"]["enc.0.weight"] = made(content["initp_enc"]["enc.0.weight"])

    bad = _spoilt(source, tmp_path, "stage1", edit)
    assert "'initp_enc.enc.0.weight' is no" in refused(arguments(source, tmp_path / "out", stage1=bad), capsys)


@pytest.mark.parametrize("key", ["stage1", "stage2", "style"])
def test_a_byte_that_changed_on_the_disk(source: Path, tmp_path: Path, key: str, capsys: Any) -> None:
    """Of a tensor: the file opens, and would give other dances."""
    bad = tmp_path / "bad.ckpt"
    data = bytearray((source / FILES[key]).read_bytes())
    value = torch.load(source / FILES[key], weights_only=True)
    tensor = value["classifier.0.weight"] if key == "style" else value["stdp_dec"]["pose_g.0.weight"]
    data[data.index(tensor.numpy().tobytes()) + 2] ^= 1
    bad.write_bytes(data)
    assert "damaged" in refused(arguments(source, tmp_path / "out", **{key: bad}), capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]


def test_files_that_cannot_be_read(source: Path, tmp_path: Path, capsys: Any) -> None:
    for bad in (tmp_path, tmp_path / ("n" * 300), source / "Stage1.ckpt" / "inside"):
        line = refused(arguments(source, tmp_path / "out", stage1=bad), capsys)
        assert f"{bad}: cannot be read" in line and "damaged" not in line
    assert "File name too long" in refused(arguments(source, tmp_path / ("n" * 300)), capsys)
    assert not list(tmp_path.iterdir())


def test_statistics_inside_the_replaced_bundle(source: Path, tmp_path: Path, capsys: Any) -> None:
    """They may be the only copy."""
    out = tmp_path / "out"
    main(arguments(source, out))
    write_stats(out / "resume")
    assert "which would be replaced" in refused(arguments(source, out, stats=out / "resume"), capsys)
    assert (out / "resume" / STATS_FILES[0]).is_file()


def test_a_bundle_with_other_files_beside_it(source: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    main(arguments(source, out))
    (out / "notes.txt").write_text("years of work")
    assert "contains other files" in refused(arguments(source, out), capsys)
    assert (out / "notes.txt").is_file()


def test_a_full_disk(source: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:  # what safetensors raises there
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("d2m.bundle.format.save_file", full)
    line = refused(arguments(source, tmp_path / "out"), capsys)
    assert "No space left on device" in line and "free space" in line
    assert not list(tmp_path.iterdir())


def test_the_function_raises_what_the_command_prints(source: Path, tmp_path: Path) -> None:
    with pytest.raises(D2MError, match="give it as stage2="):
        import_original(source / "Stage2.ckpt", source / "Stage2.ckpt", source / "aud_3cls.ckpt", tmp_path / "o")
