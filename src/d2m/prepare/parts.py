"""Per-recording results, stored under a hash of their inputs, so that preparing can resume.

``parts/ab/abcd....npz`` holds the arrays of :class:`d2m.prepare.process.Prepared`, or ``....json`` the reason why there
are none. A part is written atomically, by a rename; its bytes depend only on the recording's files and options.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2m.core.errors import D2MError
from d2m.data.manifest import Recording
from d2m.music.front_ends import front_end
from d2m.prepare.process import ARRAYS, CODE_VERSION, Options, Prepared, process
from d2m.prepare.sources.coco17 import split_camera

PARTS, SCRATCH, HASHES = "parts", ".tmp", "hashes.log"
#: Environment variable with the path of the weights that the source "video" uses.
_WEIGHTS = "D2M_POSE_WEIGHTS"
_CHUNK = 1 << 20
# A file changed within this time may change again without a new time stamp, so its hash is not cached.
_SETTLED_S = 2.0
MISSING = "missing"


class Hashes:
    """sha256 of files and folders, cached in a log by size and modification time."""

    def __init__(self, log: Path) -> None:
        self.log, self._new = log, False
        try:
            self._known: dict[str, Any] = json.loads(log.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def of(self, path: Path) -> str:
        """Hex digest of a file's bytes, or of a folder's names and bytes; ``missing`` if there is none."""
        try:
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            stats = [(os.path.relpath(p, path), s.st_size, s.st_mtime_ns) for p in files for s in (p.stat(),)]
            state = hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]
            known = self._known.get(str(path))
            if known is not None and known[0] == state:
                return str(known[1])
            digest = hashlib.sha256()
            for file, (name, size, _) in zip(files, stats, strict=True):
                if path != file:
                    digest.update(f"{name}\0{size}\0".encode())
                with open(file, "rb") as f:
                    while block := f.read(_CHUNK):
                        digest.update(block)
        except OSError:
            return MISSING
        if not stats or max(s[2] for s in stats) < (time.time() - _SETTLED_S) * 1e9:
            self._known[str(path)] = [state, digest.hexdigest()]
            self._new = True
        return digest.hexdigest()

    def save(self) -> None:
        """Write the log if it has changed. It only saves time, so failing to write it is not an error."""
        if not self._new:
            return
        temp = self.log.with_name(f".{self.log.name}.{os.getpid()}")
        try:
            temp.write_text(json.dumps(self._known), encoding="utf-8")
            os.replace(temp, self.log)
        except OSError:
            temp.unlink(missing_ok=True)


def part_key(recording: Recording, options: Options, hashes: Hashes) -> str:
    """The name of a recording's part: 32 hex digits of its name, its files' contents, its excerpt and the options.

    The name is included because a part may hold a refusal, which names files: two missing or empty files must not share
    one.
    """
    pose, camera = split_camera(recording.pose)
    files = [hashes.of(pose), *([] if camera is None else [camera])]
    files.append("" if recording.audio is None else hashes.of(recording.audio))
    extra = []
    beside = front_end(options.front_end).file
    if beside is not None and recording.audio is not None:
        extra.append(str(beside(recording.audio)))
    if options.source == "video" and os.environ.get(_WEIGHTS):
        extra.append(os.environ[_WEIGHTS])
    files += [hashes.of(Path(p)) for p in extra]
    what = [CODE_VERSION, options.plain(), recording.name, recording.start_s, recording.end_s, files]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Parts:
    """The parts of one output folder."""

    out: Path

    def path(self, key: str, suffix: str = ".npz") -> Path:
        return self.out / PARTS / key[:2] / f"{key}{suffix}"

    def state(self, key: str) -> str | None:
        """ "done", the reason why there is no part, or None if the recording has not been processed yet."""
        if self.path(key).is_file():
            return "done"
        try:
            return str(json.loads(self.path(key, ".json").read_text(encoding="utf-8"))["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def load(self, key: str) -> Prepared:
        """Read a part.

        Raises:
            ValueError: it is damaged or incomplete, by its checksums.
        """
        try:
            with np.load(self.path(key), allow_pickle=False) as f:
                meta = json.loads(bytes(f["meta"]).decode())
                tempo = float("nan") if meta["tempo"] is None else meta["tempo"]
                arrays = {n: f[n] for n in ARRAYS}
                return Prepared(meta["seconds"], tempo, meta["genre"], meta["rejected_units"], **arrays)
        except (OSError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as e:
            raise ValueError(f"{key}: {e}") from e

    def genre(self, key: str) -> str:
        """The genre stated in the recording's file, or "". Raises as :meth:`load`."""
        return self._fact(key, "genre")

    def poses_sha256(self, key: str) -> str:
        """Digest of the recording's poses, whatever file they came from; "" of older parts. Raises as :meth:`load`."""
        return self._fact(key, "poses_sha256", "")

    def _fact(self, key: str, name: str, default: str | None = None) -> str:
        try:
            with np.load(self.path(key), allow_pickle=False) as f:
                meta = json.loads(bytes(f["meta"]).decode())
                return str(meta[name] if default is None else meta.get(name, default))
        except (OSError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as e:
            raise ValueError(f"{key}: {e}") from e

    def save(self, key: str, result: Prepared | str) -> None:
        """Write a part, or the reason why there is none.

        Raises:
            OSError: disk full or no permission.
        """
        if isinstance(result, str):
            if self.state(key) == result:
                return
            content, suffix, other = json.dumps({"reason": result}).encode(), ".json", ".npz"
        else:
            tempo = None if np.isnan(result.tempo) else result.tempo
            numbers = {"seconds": result.seconds, "tempo": tempo, "rejected_units": result.rejected_units}
            digest = hashlib.sha256(result.poses.tobytes()).hexdigest()
            meta = json.dumps({"genre": result.genre, **numbers, "poses_sha256": digest}).encode()
            buffer = io.BytesIO()
            arrays = {n: getattr(result, n) for n in ARRAYS}
            np.savez(buffer, meta=np.frombuffer(meta, np.uint8), **arrays)
            content, suffix, other = buffer.getvalue(), ".npz", ".json"
        target = self.path(key, suffix)
        temp = self.out / SCRATCH / f"{key}.{os.getpid()}"
        temp.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temp.write_bytes(content)
            os.replace(temp, target)
        finally:
            temp.unlink(missing_ok=True)
        self.path(key, other).unlink(missing_ok=True)

    def prune(self, keys: Iterable[str]) -> None:
        """Remove all parts except those with these keys."""
        wanted = set(keys)
        for folder in sorted((self.out / PARTS).glob("??")):
            for file in folder.iterdir():
                if file.stem not in wanted:
                    file.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


def make_part(job: tuple[Recording, str], out: Path, raw: Path, options: Options) -> str:
    """Process one recording and store the result; run by workers.

    Returns:
        "" or the reason why it cannot be used, its paths relative to ``raw``.

    Raises:
        D2MError: the result cannot be written.
    """
    recording, key = job
    result: Prepared | str
    try:
        result = process(recording, options)
    except D2MError as e:
        result = " ".join(str(e).replace(f"{raw}{os.sep}", "").split())
    except MemoryError:
        raise
    except Exception as e:  # an unforeseen error of a broken file excludes this recording only
        result = f"{os.path.relpath(recording.pose, raw)}: cannot be processed ({type(e).__name__}: {e})"
        result = " ".join(result.replace(f"{raw}{os.sep}", "").split())
    try:
        Parts(out).save(key, result)
    except OSError as e:
        raise unwritable(out, e) from e
    return result if isinstance(result, str) else ""


def unwritable(out: Path, error: OSError) -> D2MError:
    """One line about a folder that cannot be written."""
    reason = error.strerror or str(error) or type(error).__name__
    return D2MError(f"{out}: cannot write the corpus here ({reason}); free space or choose another folder")
