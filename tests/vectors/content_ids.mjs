// Writes content_ids.json: content ids computed by an implementation that is not ours, js-ipfs's importer.
//
//   npm install ipfs-unixfs-importer@17.1.1 blockstore-core@7.0.1
//   node content_ids.mjs > content_ids.json
//
// The options are those of `ipfs add --cid-version=1 --raw-leaves --chunker=size-262144`, all of them named,
// since defaults differ between releases.

import { createHash } from 'node:crypto'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { importByteStream } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

const BLOCK = 262144
const LINKS = 174
const SIZES = [
  0, 1, 31, 4096,
  BLOCK - 1, BLOCK, BLOCK + 1,
  2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1,
  (LINKS - 1) * BLOCK, LINKS * BLOCK - 1, LINKS * BLOCK, LINKS * BLOCK + 1,
  (LINKS + 1) * BLOCK, (LINKS + 1) * BLOCK + 1,
  2 * LINKS * BLOCK, 2 * LINKS * BLOCK + 1
]

// `count`: little-endian uint32 0, 1, 2, …, cut off at the size, so that no two blocks are the same.
const FILLS = {
  zero: size => new Uint8Array(size),
  count: size => new Uint8Array(Uint32Array.from({ length: Math.ceil(size / 4) }, (_, i) => i).buffer, 0, size)
}

async function contentId (bytes) {
  async function * source () { yield bytes }
  const { cid } = await importByteStream(source(), new BlackHoleBlockstore(), {
    cidVersion: 1,
    rawLeaves: true,
    reduceSingleLeafToSelf: true,
    chunker: fixedSize({ chunkSize: BLOCK }),
    layout: balanced({ maxChildrenPerNode: LINKS })
  })
  return cid.toString()
}

const vectors = []
for (const size of SIZES) {
  for (const [fill, make] of Object.entries(FILLS)) {
    const bytes = make(size)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    vectors.push({ size, fill, sha256, cid: await contentId(bytes) })
  }
}
console.log('[\n' + vectors.map(vector => '  ' + JSON.stringify(vector)).join(',\n') + '\n]')
