"""The HTTP interface of a review: the page, its data, and ``POST /read`` for programs."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from hanline import __version__
from hanline.data.images import ImageError, check_image, decode_image
from hanline.errors import HanlineError
from hanline.review.batching import BatchingReader, QueueFullError
from hanline.review.exports import Form, export
from hanline.review.label_files import LABEL_SUFFIXES, Labels, parse_labels
from hanline.review.store import ChangedMeanwhileError, Decision, NewItem, ReviewStore

_PAGE = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
# What an answer to /api/items has at most.
_ITEMS = 500
# A decision is a line of text.
_LONGEST = 10_000


class Choice(BaseModel):
    """A decision about an item."""

    version: int = Field(description="the item's version that was shown")
    decision: Decision
    text: str = Field("", max_length=_LONGEST, description="of a confirmed item")
    author: str = Field(max_length=100, description="any name of this window; its undo")


class Author(BaseModel):
    """Who asks."""

    author: str = Field(max_length=100)


class ExportOrder(BaseModel):
    """What to export."""

    form: Form


class Read(BaseModel):
    """The reading of an image."""

    name: str
    text: str
    confidence: float
    problem: str = Field(description="why it could not be read; empty if it could")
    parts: dict[str, Any] | None = Field(None, description="characters and words, if asked for")


@dataclass(frozen=True)
class Review:
    """What the server serves.

    Attributes:
        store: the items and decisions.
        reader: reads.
        folder: where exports go.
        validation: the share of sources whose samples are for validation.
        cookie: the name of the cookie that has the token.
        token: the secret.
    """

    store: ReviewStore
    reader: BatchingReader
    folder: Path
    validation: float
    cookie: str
    token: str


def make_app(review: Review) -> FastAPI:
    """Return the application, which :class:`hanline.review.guard.Guard` must guard."""
    # The usual pages of documentation load scripts from the network.
    app = FastAPI(title="Hanline", version=__version__, docs_url=None, redoc_url=None)
    exporting = asyncio.Lock()
    _add_page(app, review)
    _add_items(app, review)

    @app.post("/read", response_model=list[Read], responses={422: {}, 503: {}})
    async def read(
        images: list[UploadFile], parts: bool = Query(False, description="give characters too")
    ) -> Any:
        """Read images, and return a reading for each, in their order. Nothing is kept."""
        contents = [await image.read() for image in images]
        try:
            future = review.reader.submit(contents, parts)
        except QueueFullError as error:
            raise HTTPException(
                503, str(error), headers={"Retry-After": str(error.seconds)}
            ) from error
        try:
            readings = await asyncio.wrap_future(future)
        except HanlineError as error:
            raise HTTPException(500, str(error)) from error
        rows = [
            Read(
                name=image.filename or "",
                text=reading.text,
                confidence=reading.confidence,
                problem=reading.problem,
                parts=reading.parts.as_record() if reading.parts else None,
            )
            for image, reading in zip(images, readings, strict=True)
        ]
        unread = all(row.problem for row in rows)
        return JSONResponse([row.model_dump() for row in rows], 422 if unread else 200)

    @app.post("/api/export")
    async def write_export(order: ExportOrder) -> dict[str, Any]:
        """Write what was decided into the review's folder; say where and how much."""
        async with exporting:
            try:
                made = await run_in_threadpool(
                    export, review.store, review.folder, order.form, review.validation
                )
            except HanlineError as error:
                raise HTTPException(422, str(error)) from error
        return made.as_record()

    return app


def _add_page(app: FastAPI, review: Review) -> None:
    folder = Path(__file__).parent
    files = {name: ((folder / file).read_bytes(), kind) for name, (file, kind) in _PAGE.items()}

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        content, kind = files[""]
        answer = Response(content, media_type=kind)
        if "token" in request.query_params:
            # The script takes the token out of the address; a reload has the cookie.
            answer.set_cookie(review.cookie, review.token, httponly=True, samesite="strict")
        return answer

    @app.get("/page.css", include_in_schema=False)
    def style() -> Response:
        return Response(files["page.css"][0], media_type=files["page.css"][1])

    @app.get("/page.js", include_in_schema=False)
    def script() -> Response:
        return Response(files["page.js"][0], media_type=files["page.js"][1])


def _add_items(app: FastAPI, review: Review) -> None:
    store = review.store

    @app.get("/api/items")
    def items(since: int = Query(0, description="a revision")) -> dict[str, Any]:
        """Return the items that changed after a revision, oldest change first, and the counts."""
        return {"items": store.changed_since(since, _ITEMS), "counts": store.counts()}

    @app.get("/api/items/{number}/image")
    def image(number: int) -> Response:
        """Return an item's picture as PNG, turned as its EXIF data say."""
        content = store.picture(number)
        if content is None:
            raise HTTPException(404, "there is no such item")
        try:
            picture = decode_image(content)
        except ImageError as error:
            raise HTTPException(422, str(error)) from error
        png = io.BytesIO()
        picture.save(png, "PNG", compress_level=1)
        return Response(png.getvalue(), media_type="image/png")

    @app.put("/api/items/{number}", responses={409: {}})
    def decide(number: int, choice: Choice) -> Any:
        """Decide an item. If it was decided elsewhere since, the answer is 409 and the item."""
        if choice.decision == "confirmed" and not choice.text.strip():
            raise HTTPException(422, "expected a text; a line without one is not legible")
        try:
            return store.decide(number, choice.version, choice.decision, choice.text, choice.author)
        except ChangedMeanwhileError as error:
            return JSONResponse({"detail": str(error), "item": error.current}, 409)
        except KeyError:
            raise HTTPException(404, "there is no such item") from None

    @app.post("/api/undo", responses={409: {}})
    def undo(who: Author) -> Any:
        """Take back this author's last decision."""
        try:
            return {"item": store.undo(who.author)}
        except ChangedMeanwhileError as error:
            return JSONResponse({"detail": str(error), "item": error.current}, 409)

    @app.post("/api/upload")
    async def upload(files: list[UploadFile]) -> Any:
        """Keep images for the review; label files decide images of their names."""
        contents = [(file.filename or "image", await file.read()) for file in files]
        result = await run_in_threadpool(_take, store, contents)
        review.reader.wake()
        nothing = not result["added"] and not result["known"] and not result["labeled"]
        return JSONResponse(result, 422 if result["refused"] and nothing else 200)


def _take(store: ReviewStore, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """Keep uploaded images and label files; return what became of them."""
    new, refused, labeled = [], [], 0
    labels: Labels = {}
    for path, content in files:
        # The name is shown and compared, and never opened.
        name = "/".join(p for p in path.replace("\\", "/").split("/") if p not in ("", ".", ".."))
        name = "".join(c for c in name if c.isprintable())[:500] or "image"
        try:
            if name.lower().endswith(LABEL_SUFFIXES):
                labels |= parse_labels(name, content)
            else:
                check_image(content)
                new.append(NewItem(content, name, name.rpartition("/")[0] or "dropped"))
        except HanlineError as error:
            refused.append({"name": name, "problem": str(error)})
    added = store.add(new)
    if labels:
        labeled = store.label(labels)
    return {"added": added, "known": len(new) - added, "labeled": labeled, "refused": refused}
