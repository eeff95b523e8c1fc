"""Files that look complete to the libraries that read them: an Ogg without its end, a wav behind another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.audio import load_audio

NOISE = np.random.default_rng(0).normal(0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_does_not_end_is_refused(tmp_path: Path, subtype: str) -> None:
    sf.write(path := tmp_path / "a.ogg", NOISE if subtype == "VORBIS" else np.repeat(NOISE, 2)[: 4 * 24000],
             SAMPLE_RATE if subtype == "VORBIS" else 24000, format="OGG", subtype=subtype)  # fmt: skip
    whole = path.read_bytes()
    pages = [at for at in range(len(whole)) if whole[at : at + 4] == b"OggS"]
    for end in (*pages[2:], len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(D2MError, match=r"is cut off.*ffmpeg -i OLD NEW\.wav|cannot be decoded"):
            load_audio(path)
    path.write_bytes(whole + bytes(500))  # what copying tools add
    assert len(load_audio(path)) == pytest.approx(4 * SAMPLE_RATE, abs=10)


def test_a_wav_behind_another_is_not_lost(tmp_path: Path) -> None:
    sf.write(path := tmp_path / "a.wav", NOISE, SAMPLE_RATE)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(D2MError, match=r"holds 8\.0 s but its header states 4\.0 s"):
        load_audio(path)
