"""d2m: retrain Dancing2Music, and study and edit its dance latent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from d2m.core.errors import D2MError
    from d2m.dance.generator import DanceGenerator

__version__ = "0.1.0"
__all__ = ["D2MError", "DanceGenerator", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import d2m` and `--help` do not pay for torch.
    if name == "DanceGenerator":
        from d2m.dance.generator import DanceGenerator

        return DanceGenerator
    if name == "D2MError":
        from d2m.core.errors import D2MError

        return D2MError
    raise AttributeError(f"module 'd2m' has no attribute '{name}'")
