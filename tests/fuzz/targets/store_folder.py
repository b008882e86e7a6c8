"""A store's folder that others have written into."""

from __future__ import annotations

import shutil

from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.exceptions import ContentError
from tests.fuzz.clean import refused
from tests.fuzz.folder import folder
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

CONTENT = b"what was put"


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    root = folder() / "store"
    shutil.rmtree(root, ignore_errors=True)
    content = LocalStore(root).put(CONTENT)
    target = root / "objects" / content.cid[-2] / content.cid
    name = reader.take(reader.integer() % 64).translate(None, b"\0/") or b"x"
    place = reader.pick((target, root / "VERSION", *(root / f for f in ("pins", "temporary", "objects", "objects/a"))))
    if place.is_file():
        place.unlink()
    else:
        place.mkdir(exist_ok=True)
        place /= name.decode(errors="surrogateescape") if name not in (b".", b"..") else "x"
    kind, written = reader.pick(("file", "folder", "link")), reader.rest()
    if place.exists():
        return True
    if kind == "file":
        place.write_bytes(written)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("nowhere")
    sound = True
    for use in (_get, _block, _verify, _collect):
        try:
            use(LocalStore(root), content)
        except ContentError as error:
            sound = refused(error)
    return sound


def _get(store: LocalStore, content: ContentId) -> None:
    assert store.get(content) == CONTENT
    assert store.path(content).read_bytes() == CONTENT


def _block(store: LocalStore, content: ContentId) -> None:
    assert store.block(content.digest) == CONTENT


def _verify(store: LocalStore, content: ContentId) -> None:
    assert all(cid == content.cid or str(error) for cid, error in store.verify())
    assert all(size >= 0 for _, size in store.contents())


def _collect(store: LocalStore, content: ContentId) -> None:
    store.pins()
    store.gc()
    store.put(CONTENT)
    _get(store, content)
