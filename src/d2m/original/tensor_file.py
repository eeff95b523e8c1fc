"""Safe loading of an untrusted file of tensors: nothing in it is executed, and damaged files are refused."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from d2m.core.errors import D2MError


def load_tensors(path: Path) -> dict[str, Any]:
    """Load a file's dictionary without executing anything in it.

    Raises:
        D2MError: it is missing, damaged, holds Python objects besides tensors, or is not a dictionary.
    """
    try:
        with open(path, "rb") as f:
            # A bare pickle, outside torch's container, of a protocol that torch.load does not accept.
            bare = re.match(rb"\x80[\x03-\x05]", f.read(2)) is not None
    except FileNotFoundError as e:
        raise D2MError(f"{path}: no such file; give the path of a checkpoint") from e
    except OSError as e:
        raise D2MError(f"{path}: cannot be read ({e.strerror}); give the path of a checkpoint") from e
    try:
        _check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the same pickles; the error says what matters
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises many kinds for a bad file
        match = re.search(r"GLOBAL ([\w.]+)", str(e))
        if match or bare:
            name = f" ({match[1]})" if match else ""
            raise D2MError(
                f"{path}: contains Python objects besides tensors{name}; none of it was run; "
                "give an unmodified file of the reference"
            ) from e
        raise D2MError(f"{path}: damaged, cut short or not a checkpoint; copy it again from its source") from e
    if not isinstance(content, dict) or not all(isinstance(k, str) for k in content):
        raise D2MError(f"{path}: does not contain a dictionary of networks; give an unmodified file of the reference")
    return content


def _check_sums(path: Path) -> None:
    """Verify the checksums that torch writes per tensor but never checks. Files from before PyTorch 1.6 have none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            if (broken := z.testzip()) is not None:
                raise zipfile.BadZipFile(f"checksum of {broken}")
