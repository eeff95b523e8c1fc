"""The studio's server: an ASGI app over a library, a worker and the sessions of its bundles."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from d2m.core.errors import D2MError
from d2m.core.files import finite
from d2m.studio import saving
from d2m.studio.excerpts import Excerpts
from d2m.studio.guard import App, Guard
from d2m.studio.kept import Kept
from d2m.studio.library import MAX_SONG, Library
from d2m.studio.session import Session
from d2m.studio.shown import describe
from d2m.studio.state import State
from d2m.studio.studies import Studies
from d2m.studio.wire import frame
from d2m.studio.worker import Job, Worker, listen

PAGE = Path(__file__).parent / "page"
#: Largest request other than a song upload, bytes; maximum number of bundles in memory.
MAX_JSON, MAX_SESSIONS = 2**20, 4


async def _json(request: Request) -> Mapping[str, Any]:
    """The request's JSON object. Raises D2MError if it is not one, or too large."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_JSON:
            raise D2MError("the request is too long")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise D2MError("the request is not JSON") from e
    if not isinstance(value, dict):
        raise D2MError("the request is not a JSON object")
    return value


class Studio:
    """The handlers of all requests.

    Args:
        library: the files that may be used. device: of the networks.
    """

    def __init__(self, library: Library, device: str = "cpu") -> None:
        self.library, self.device = library, device
        self.worker = Worker()
        self.studies, self.excerpts = Studies(library), Excerpts(library)
        self._sessions: Kept[Session] = Kept(MAX_SESSIONS)

    def session(self, bundle: str) -> Session:
        """The session of a bundle; only to be called in the worker's thread."""
        return self._sessions.get(bundle, lambda: Session(bundle, self.device))

    # -- dances ----------------------------------------------------------------------------------------------------

    async def dance(self, request: Request) -> Response:
        """From a state, stream frames: progress, provisional (if a playhead is given), dance."""
        asked = await _json(request)
        state = self.library.check(State.parse(asked.get("state")))
        at, exact, other = asked.get("playhead"), asked.get("exact") is not False, asked.get("compare") is True
        if at is not None and (isinstance(at, bool) or not isinstance(at, int | float) or not np.isfinite(at)):
            raise D2MError("playhead: expected seconds")

        def work(job: Job) -> None:
            session = self.session(state.bundle)
            if not other:
                state.write(self.library.state_path)
            if at is not None and (dances := session.provisional(state, at)) is not None:
                job.send(frame("provisional", {"first": dances[0]}, {"target": dances[1]}))
                job.tick()
            if exact:
                shown = session.show(state, job.tick)
                header, arrays = describe(shown)
                sound = self.library.sound(shown.original.dance.song.wave)
                job.send(frame("dance", {**header, "sound": f"sounds/{sound}", "state": state.plain()}, arrays))

        return self._stream(f"dance {asked.get('tab')}", work)

    async def save(self, request: Request) -> Response:
        """Save a state's files, as ``d2m infer state=`` writes them; streams frames: progress, saved."""
        asked = await _json(request)
        state, also = self.library.check(State.parse(asked.get("state"))), saving.check_also(asked.get("also", []))

        def work(job: Job) -> None:
            files = saving.save(self.library.out, self.session(state.bundle), state, also, job.tick)
            job.send(
                frame(
                    "saved",
                    {"files": [f"saved/{f}" for f in files], "folder": str((self.library.out / "saved").absolute())},
                )
            )

        return self._stream(f"save {asked.get('tab')}", work)

    async def direction(self, request: Request) -> Response:
        """Save an edit of a state as a direction folder, as ``d2m study fit`` writes it; streams frames: saved."""
        asked = await _json(request)
        state, index = self.library.check(State.parse(asked.get("state"))), asked.get("index")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(state.edits):
            raise D2MError("index: not the number of an edit")

        def work(job: Job) -> None:
            folder = saving.save_direction_of(self.library.out, self.session(state.bundle), state.edits[index])
            job.send(frame("saved", {"files": [], "folder": str(folder.absolute())}))

        return self._stream(f"save {asked.get('tab')}", work)

    def _stream(self, asker: str, work: Callable[[Job], None]) -> Response:
        frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        job = Job(asker, work, listen(loop.call_soon_threadsafe, frames.put_nowait))

        async def answer() -> AsyncIterator[bytes]:
            self.worker.submit(job)
            try:
                while (data := await frames.get()) is not None:
                    yield data
            finally:
                job.cancel()

        return StreamingResponse(answer(), media_type="application/octet-stream")

    # -- what there is ---------------------------------------------------------------------------------------------

    async def catalogue(self, request: Request) -> Response:
        """Bundles, songs, directions, and the page's last state."""
        there = await run_in_threadpool(self.library.catalogue)
        return JSONResponse(finite({**there, "state": await run_in_threadpool(self.library.last_state)}))

    async def open_state(self, request: Request) -> Response:
        """Adapt a state from a file or link to this studio; also returns notes on what had to be replaced."""
        asked = await _json(request)
        state, notes = await run_in_threadpool(self.library.adopt, State.parse(asked.get("state")))
        return JSONResponse({"state": state.plain(), "notes": notes})

    async def excerpt(self, request: Request) -> Response:
        """A few seconds of a song, played while the pointer hovers over it."""
        wav = await run_in_threadpool(self.excerpts.wav, request.query_params.get("song", ""))
        return Response(wav, media_type="audio/wav", headers={"cache-control": "private, max-age=3600"})

    async def add_song(self, request: Request) -> Response:
        """Receive a dropped song; it is kept if it can be decoded."""
        from d2m.music.audio import load_song

        path = self.library.place_for(request.path_params["name"])
        temp = path.with_name(f".{id(request)}.part{path.suffix}")
        size = 0
        try:
            with temp.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > MAX_SONG:
                        raise D2MError(f"{path.name}: larger than {MAX_SONG >> 20} MB; drop a shorter one")
                    file.write(part)
            try:
                await run_in_threadpool(load_song, temp)
            except D2MError as e:
                raise D2MError(str(e).replace(str(temp), path.name)) from e
            temp.replace(path)
        except OSError as e:
            raise D2MError(f"{path}: cannot write ({e.strerror}); free some space") from e
        finally:
            temp.unlink(missing_ok=True)
        return JSONResponse({"path": str(path.absolute()), "name": path.name})

    async def study(self, request: Request) -> Response:
        """Runs, their curves, differences and evaluations, and the map of latents."""
        s = self.studies
        of = {"runs": s.runs, "curves": s.curves, "evaluations": s.evaluations, "map": s.map}
        what = request.path_params["what"]
        if what not in of:
            raise D2MError(f"{what}: no such study")
        return JSONResponse(finite(await run_in_threadpool(of[what], dict(request.query_params))))


async def _refused(_: Request, e: Exception) -> Response:
    return JSONResponse({"message": str(e)}, status_code=400)


async def _left(_: Request, e: Exception) -> Response:
    return Response(status_code=499)


def make_app(library: Library, token: str, hosts: frozenset[str], device: str = "cpu") -> App:
    """The studio behind its guard.

    Args:
        token: first part of every path. hosts: valid Host headers for this server, such as "127.0.0.1:8000".
    """
    studio = Studio(library, device)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        studio.worker.close()

    inside = [
        Route("/api/catalogue", studio.catalogue),
        Route("/api/dance", studio.dance, methods=["POST"]),
        Route("/api/save", studio.save, methods=["POST"]),
        Route("/api/direction", studio.direction, methods=["POST"]),
        Route("/api/state", studio.open_state, methods=["POST"]),
        Route("/api/excerpt", studio.excerpt),
        Route("/api/songs/{name}", studio.add_song, methods=["PUT"]),
        Route("/api/{what}", studio.study),
        Mount("/sounds", StaticFiles(directory=library.out / "sounds")),
        Mount("/saved", StaticFiles(directory=library.out / "saved")),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    app = Starlette(
        routes=[Mount(f"/{token}", routes=inside)],
        exception_handlers={D2MError: _refused, ClientDisconnect: _left},
        lifespan=lifespan,
    )
    return Guard(app, token, hosts)
