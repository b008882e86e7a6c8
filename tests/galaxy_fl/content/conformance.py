"""What every store promises. A backend's tests inherit StoreConformance and give the two hooks."""

from __future__ import annotations

import io
import mmap
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from galaxy_fl.content import BLOCK_SIZE, ContentId, Finished, GcReport, Store
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError

from .unixfs_reference import cid_of, fill

Alteration = Literal["flip", "truncate", "extend", "remove"]

SIZES = [0, 1, 255, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 5 * BLOCK_SIZE + 3]
ABSENT = ContentId.of(b"nobody has this")


class StoreConformance:
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError("give an empty store")

    def alter(self, store: Store, content: ContentId, how: Alteration) -> None:
        """Spoils what the store keeps under `content`, behind its back: a bit, a byte off or on, or all."""
        raise NotImplementedError

    # Putting and reading

    @pytest.mark.parametrize("size", SIZES)
    def test_what_was_put_is_read_back_under_the_id_that_ipfs_gives(self, store, size):
        data = fill("count", size)
        content = store.put(data)
        assert content == ContentId.of(data)
        assert content.cid == cid_of(data)
        assert store.get(content) == data
        assert store.path(content).read_bytes() == data
        assert store.has(content)
        assert store.reaches(content)
        assert store.identify(content.cid) == content

    def test_every_kind_of_source_is_the_same_content(self, store, tmp_path):
        data = fill("count", 3 * BLOCK_SIZE + 5)
        path = tmp_path / "source"
        path.write_bytes(data)
        vector = np.frombuffer(data[:-1], "<i4")
        assert store.put(bytearray(data)) == store.put(memoryview(data)) == store.put(data) == ContentId.of(data)
        assert store.put(path) == store.put(io.BytesIO(data)) == ContentId.of(data)
        assert store.put(memoryview(vector)) == ContentId.of(data[:-1])
        assert path.read_bytes() == data

    @pytest.mark.parametrize("size", [5, 5 * BLOCK_SIZE + 3])
    def test_a_finished_file_is_put_and_its_name_is_its_owners(self, store, tmp_path, size):
        data, path = fill("count", size), tmp_path / "source"
        path.write_bytes(data)
        finished = Finished.of(path)
        assert finished.content == store.put(finished) == store.put(finished) == ContentId.of(data)
        assert path.read_bytes() == data
        path.unlink()
        assert store.get(finished.content) == data

    def test_a_finished_file_that_was_written_to_is_put_as_what_it_is(self, store, tmp_path):
        path = tmp_path / "source"
        path.write_bytes(b"content")
        finished = Finished.of(path)
        path.write_bytes(b"longer content")
        assert store.put(finished) == ContentId.of(b"longer content")
        assert not store.has(finished.content)

    def test_a_finished_file_takes_the_place_of_what_is_spoilt(self, store, tmp_path):
        path = tmp_path / "source"
        path.write_bytes(b"content")
        self.alter(store, store.put(b"content"), "truncate")
        assert store.get(store.put(Finished.of(path))) == b"content"

    def test_a_stream_is_read_from_where_it_stands_and_left_open(self, store):
        stream = io.BytesIO(b"head and body")
        stream.seek(9)
        assert store.get(store.put(stream)) == b"body"
        assert not stream.closed

    def test_a_stream_that_fails_leaves_nothing(self, store):
        class Broken(io.RawIOBase):
            calls = 0

            def read(self, size=-1):
                self.calls += 1
                if self.calls > 1:
                    raise TimeoutError("the sender went away")
                return bytes(size)

        with pytest.raises(TimeoutError, match="went away"):
            store.put(Broken())
        assert list(store.contents()) == []
        assert store.gc(0) == GcReport(0, 0)

    def test_a_source_that_is_not_there_or_is_a_folder_is_named(self, store, tmp_path):
        with pytest.raises(ContentError, match="nowhere"):
            store.put(tmp_path / "nowhere")
        with pytest.raises(ContentError, match="not a folder"):
            store.put(tmp_path)

    def test_putting_twice_keeps_one(self, store):
        content = store.put(b"twice")
        assert store.put(b"twice") == content
        assert list(store.contents()) == [(content.cid, 5)]

    @pytest.mark.parametrize("size", [0, 10, 2 * BLOCK_SIZE + 1])
    def test_ranges_are_slices(self, store, size):
        data = fill("count", size)
        content = store.put(data)
        edges = sorted({0, 1, 9, BLOCK_SIZE - 1, BLOCK_SIZE + 1, size - 1, size} & set(range(size + 1)))
        for start in edges:
            assert store.get(content, start) == data[start:]
            for stop in edges:
                if start <= stop:
                    assert store.get(content, start, stop) == data[start:stop]

    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, 11), (11, None), (6, 5), (0, -1)])
    def test_ranges_that_are_not_in_the_content_are_refused(self, store, start, stop):
        content = store.put(b"ten bytes!")
        with pytest.raises(ContentError, match="it has 10 bytes"):
            store.get(content, start, stop)

    def test_a_path_can_be_memory_mapped(self, store):
        data = fill("count", BLOCK_SIZE + 8)
        with (
            store.path(store.put(data)).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            assert view[-8:] == data[-8:]

    # Missing and altered

    def test_content_that_is_not_there_is_missing(self, store):
        assert not store.has(ABSENT)
        assert not store.reaches(ABSENT)
        for read in (store.get, store.path):
            with pytest.raises(ContentMissingError, match=ABSENT.cid):
                read(ABSENT)
        with pytest.raises(ContentMissingError, match=ABSENT.cid):
            store.identify(ABSENT.cid)
        with pytest.raises(ContentError, match="'nonsense' is not a content id"):
            store.identify("nonsense")

    def test_content_that_was_removed_is_missing(self, store):
        content = store.put(b"short-lived")
        store.path(content)
        self.alter(store, content, "remove")
        assert not store.has(content)
        for read in (store.get, store.path):
            with pytest.raises(ContentMissingError, match=content.cid):
                read(content)

    @pytest.mark.parametrize("how", ["flip", "truncate", "extend"])
    @pytest.mark.parametrize("size", [1, 4096, BLOCK_SIZE, 2 * BLOCK_SIZE + 1])
    def test_altered_content_is_found_whether_it_was_read_before_or_not(self, store, size, how):
        read_before, never_read = store.put(fill("count", size)), store.put(fill("zero", size + 1))
        assert store.get(read_before) == fill("count", size)
        for content in (read_before, never_read):
            self.alter(store, content, how)
            for read in (store.get, store.path, lambda content: store.get(content, 0, 1)):
                with pytest.raises(ContentAlteredError, match=content.cid):
                    read(content)

    def test_a_right_id_with_a_wrong_size_gives_no_content(self, store):
        content = store.put(b"eleven byte")
        wrong = ContentId(content.digest, 12)
        assert not store.has(wrong)
        assert not store.reaches(wrong)
        with pytest.raises(ContentError):
            store.get(wrong)

    @pytest.mark.parametrize("how", ["flip", "truncate", "extend", "remove"])
    def test_putting_again_heals(self, store, how):
        data = fill("count", BLOCK_SIZE + 1)
        content = store.put(data)
        self.alter(store, content, how)
        assert store.put(data) == content
        assert store.get(content) == data

    def test_verify_tells_the_good_from_the_bad(self, store):
        good = store.put(b"good")
        bad = [store.put(b"bad %d" % number) for number in range(3)]
        for content, how in zip(bad, ("flip", "truncate", "extend"), strict=True):
            self.alter(store, content, how)
        verdicts = dict(store.verify())
        assert verdicts.keys() == {good.cid, *(content.cid for content in bad)}
        assert verdicts[good.cid] is None
        for content in bad:
            assert isinstance(verdicts[content.cid], ContentAlteredError)
            assert content.cid in str(verdicts[content.cid])

    # Keeping

    def test_contents_lists_ids_and_sizes(self, store):
        put = [store.put(fill("count", size)) for size in SIZES]
        assert sorted(store.contents()) == sorted((content.cid, content.size) for content in put)

    def test_gc_removes_what_is_not_pinned(self, store):
        kept, lost = store.put(b"kept"), store.put(b"not kept")
        store.pin(kept)
        assert store.gc(0) == GcReport(removed=1, freed_bytes=8)
        assert store.get(kept) == b"kept"
        assert not store.has(lost)

    def test_gc_spares_what_was_put_within_the_grace_period(self, store):
        content = store.put(b"young")
        assert store.gc(3600) == GcReport(0, 0)
        assert store.has(content)

    def test_pins_are_a_set(self, store):
        one, two = store.put(b"one"), store.put(b"two")
        for content in (one, two, one):
            store.pin(content)
        assert store.pins() == {one.cid, two.cid}
        for _ in range(2):
            store.unpin(one)
        assert store.pins() == {two.cid}
        assert store.gc(0) == GcReport(removed=1, freed_bytes=3)

    def test_many_are_pinned_at_a_time(self, store):
        contents = [store.put(fill("count", 10 + size)) for size in range(20)]
        store.pin(*contents)
        assert store.pins() == {content.cid for content in contents}
        store.unpin(*contents[5:])
        assert store.pins() == {content.cid for content in contents[:5]}
        store.pin()
        store.unpin()
        store.unpin(contents[0])
        assert store.pins() == {content.cid for content in contents[1:5]}
        store.pin(contents[0])
        assert store.pins() == {content.cid for content in contents[:5]}
        with pytest.raises(ContentMissingError, match=ABSENT.cid):
            store.pin(contents[7], ABSENT, contents[8])

    def test_what_is_not_there_cannot_be_pinned(self, store):
        with pytest.raises(ContentMissingError, match=ABSENT.cid):
            store.pin(ABSENT)
        assert store.pins() == frozenset()

    def test_memory_does_not_grow_with_the_length_of_a_stream(self, store):
        class Zeros(io.RawIOBase):
            left = 64 << 20

            def read(self, size=-1):
                size = min(size, self.left)
                self.left -= size
                return bytes(size)

        tracemalloc.start()
        try:
            content = store.put(Zeros())
            path: Path = store.path(content)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert path.stat().st_size == 64 << 20
        assert peak < 16 << 20
