"""Models as they cross the wire: layouts, fixed point and chunk trees (protocol sections 1 and 2)."""

from __future__ import annotations

from galaxy_fl.vectors.chunk_tree import (
    ChunkTree,
    Opening,
    chunk_count,
    commitment,
    depth,
    fitting_chunk,
    root_of,
    tree_root,
    usual_chunk,
    verify,
)
from galaxy_fl.vectors.fixed_point import (
    decode,
    difference,
    encode,
    read_sums,
    read_vector,
    write_encoded,
    write_vector,
)
from galaxy_fl.vectors.layout import SHORTEST_VECTOR, Layout, TensorLayout
from galaxy_fl.vectors.vector import (
    BLOCK_PARAMETERS,
    INT32_MAX,
    INT32_MIN,
    SUM_DTYPE,
    VECTOR_DTYPE,
    Sums,
    Vector,
    as_sums,
    as_vector,
    blocks,
)

__all__ = [
    "BLOCK_PARAMETERS",
    "INT32_MAX",
    "INT32_MIN",
    "SHORTEST_VECTOR",
    "SUM_DTYPE",
    "VECTOR_DTYPE",
    "ChunkTree",
    "Layout",
    "Opening",
    "Sums",
    "TensorLayout",
    "Vector",
    "as_sums",
    "as_vector",
    "blocks",
    "chunk_count",
    "commitment",
    "decode",
    "depth",
    "difference",
    "encode",
    "fitting_chunk",
    "read_sums",
    "read_vector",
    "root_of",
    "tree_root",
    "usual_chunk",
    "verify",
    "write_encoded",
    "write_vector",
]
