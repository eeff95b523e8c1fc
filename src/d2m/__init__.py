"""d2m: retrain Dancing2Music, and study and edit its dance latent.

The short way:

    import d2m

    dancer = d2m.Dancer.load("bundle")
    dance = dancer("song.ogg", seed=0, edit=d2m.MeanShift("drive", "flow"))
    dance.save("out.mp4")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from d2m.core.errors import D2MError
    from d2m.dance.dancer import Dancer
    from d2m.dance.generator import DanceGenerator
    from d2m.edits.boundary import LinearBoundary
    from d2m.edits.erasure import Erasure
    from d2m.edits.mean_shift import MeanShift
    from d2m.edits.optimised_dance import OptimisedEdit
    from d2m.edits.strength import Schedule
    from d2m.edits.transport import GaussianTransport

__version__ = "0.1.0"
__all__ = [
    "D2MError",
    "DanceGenerator",
    "Dancer",
    "Erasure",
    "GaussianTransport",
    "LinearBoundary",
    "MeanShift",
    "OptimisedEdit",
    "Schedule",
    "__version__",
]

#: Lazy, so that `import d2m` and `--help` do not pay for torch.
_HOMES = {
    "D2MError": "core.errors",
    "DanceGenerator": "dance.generator",
    "Dancer": "dance.dancer",
    "Erasure": "edits.erasure",
    "GaussianTransport": "edits.transport",
    "LinearBoundary": "edits.boundary",
    "MeanShift": "edits.mean_shift",
    "OptimisedEdit": "edits.optimised_dance",
    "Schedule": "edits.strength",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"d2m.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'd2m' has no attribute '{name}'")
