"""Start the server of a review, and stop it."""

import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout

from hanline.errors import HanlineError
from hanline.inference.reader import Reader
from hanline.review.batching import BatchingReader
from hanline.review.guard import Guard
from hanline.review.label_files import parse_labels
from hanline.review.server import Review, make_app
from hanline.review.sources import check_input, items_of
from hanline.review.store import ReviewStore
from hanline.system.regular_files import read_regular

logger = logging.getLogger(__name__)
_ITEMS_AT_A_TIME = 64
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def serve(
    reader: Reader,
    place: Path | None,
    labels: Path | None,
    output: Path,
    host: str,
    port: int,
    hosts: Sequence[str],
    validation: float,
    queue: int,
    upload_mb: int,
) -> None:
    """Serve a review until a signal comes. The arguments are the keys of ``conf/review.yaml``.

    Raises:
        HanlineError: there is nothing to review, the port is taken, or the folder is in use.
    """
    if place:
        check_input(place)
    store = ReviewStore(output)
    lock = FileLock(output / "review.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise HanlineError(
            f"output={output}: expected a folder that is not in use, but another hanline review "
            "has it open. Use its page, or choose another folder"
        ) from error
    opened = _listen(host, port)
    port = opened.getsockname()[1]
    batching = BatchingReader(reader, queue, store.unread, store.set_readings)
    token = store.token()
    cookie = f"hanline_review_{port}"
    app = Guard(
        make_app(Review(store, batching, output, validation, cookie, token)),
        token,
        [*(f"{name}:{port}" for name in (host, *_LOOPBACK)), *hosts],
        cookie,
        upload_mb * 2**20,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=5,
        )
    )
    shown = f"[{host}]" if ":" in host else host
    batching.start()
    stopping = threading.Event()
    importing = threading.Thread(
        target=_import, args=(store, batching, place, labels, stopping), daemon=True
    )
    importing.start()
    print(f"open http://{shown}:{port}/?token={token}", flush=True)
    if host not in ("127.0.0.1", "localhost", "::1"):
        print("note: everyone who can reach this address can read all that is sent", flush=True)
    try:
        server.run(sockets=[opened])
    finally:
        stopping.set()
        batching.stop()
        importing.join(timeout=60)
        store.close()
        lock.release()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise HanlineError(
            f"host={host} port={port}: expected an address to listen on, but {error.strerror}. "
            "Choose another port; port=0 takes a free one"
        ) from error


def _import(
    store: ReviewStore,
    reader: BatchingReader,
    place: Path | None,
    labels: Path | None,
    stopping: threading.Event,
) -> None:
    """Take the items of a place and the labels of a file into the store."""
    try:
        items = items_of(place) if place else iter(())
        while not stopping.is_set() and (some := [*islice(items, _ITEMS_AT_A_TIME)]):
            store.add(some)
            reader.wake()
        if labels:
            with suppress(OSError):
                count = store.label(parse_labels(labels.name, read_regular(labels)))
                logger.info("%d lines have labels from %s", count, labels)
    except HanlineError as error:
        # The server shows what there is.
        logger.error("%s", error)
