#!/usr/bin/env bash
# The first of two machines: the chain, the ledger, the content store and the server of the job.
#   ./first.sh HOST [FOLDER]   HOST: the name or address under which the other machine reaches this one
# It is for a network of your own: the development chain gives its accounts to whoever reaches it.
set -euo pipefail
example=$(cd "$(dirname "$0")" && pwd)
host=${1:?the name or address of this machine} folder=${2:-$(mktemp -d)} chain=${CHAIN_PORT:-8545} store=${STORE_PORT:-8550}
cd "$folder"
export GALAXY_RPC=http://127.0.0.1:$chain
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

galaxy-chain node --host "$host" --port "$chain" > node.log &
until (exec 3<> "/dev/tcp/$host/$chain") 2> /dev/null; do kill -0 $!; sleep 0.1; done
export GALAXY_RPC=http://$host:$chain

galaxy-chain deploy --account dev:0
galaxy-chain job create "$example/job.toml" --account dev:0

owner=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 # dev:0: contents of its jobs may be written
galaxy-chain store serve --owner $owner --host "$host" --port "$store" --url "http://$host:$store" > store.log &
until (exec 3<> "/dev/tcp/$host/$store") 2> /dev/null; do kill -0 $!; sleep 0.1; done

echo "give $PWD/.galaxy/ledger.json to the second machine, and run there: ./second.sh $host ledger.json"
galaxy-chain server --job 1 --account dev:0 --data digits --leave
wait # the store and the chain stay: Ctrl-C ends them
