"""What imports cost, and what works where the training stack is absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In this order in one process, since loading torch takes seconds.
CODE = """
import sys
import d2m
assert "torch" not in sys.modules
import d2m.music.audio, d2m.music.beats, d2m.music.front_ends
assert not {"torch", "librosa", "av"} & set(sys.modules)

for name in ("pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb", "torchmetrics"):
    assert name not in sys.modules
    sys.modules[name] = None
assert all(getattr(d2m, n) for n in d2m.__all__)
import numpy as np, torch
from d2m.edits.request import EditRequest, build_edit
tiny, judged = map(d2m.DanceGenerator.load, sys.argv[1:])
z = tiny.encode(np.zeros((200, 28), np.float32), torch.Generator().manual_seed(0))
poses = tiny.decode(z.sample, 200, torch.Generator().manual_seed(0))
assert z.mu.shape == (3, 8) and poses.shape == (200, 14, 2) and poses.isfinite().all()
assert tiny.motion_style is None
assert len(judged.genre_of_motion(np.zeros((64, 14, 2)))) == 3
assert build_edit(EditRequest("optimise", "drive", "flow"), judged) is not None
"""


def test_d2m_is_quick_to_import_and_dances_without_the_training_stack(tiny_bundle: Path, judged_bundle: Path) -> None:
    """``d2m --help`` must not wait for torch or librosa; a bundle needs neither Lightning nor Hydra."""
    command = [sys.executable, "-c", CODE, str(tiny_bundle), str(judged_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
