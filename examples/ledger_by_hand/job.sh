#!/usr/bin/env bash
# A whole job on a ledger, command by command: what you would type in terminals of your own, in one script.
#   ./job.sh [FOLDER] [PORT]   FOLDER: where everything is kept; PORT: where the development chain listens
set -euo pipefail
example=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$(mktemp -d)} port=${2:-8545}
cd "$folder"
export GALAXY_RPC=http://127.0.0.1:$port
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

galaxy-chain node --port "$port" > node.log &
until (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do kill -0 $!; sleep 0.1; done

galaxy-chain deploy --account dev:0                             # the ledger, once per chain
galaxy-chain job create "$example/job.toml" --account dev:0     # job 1, whose server is its owner

# Each of these would be in a terminal, or on a machine, of its own. --leave: rewards wait for a day, this script doesn't.
galaxy-chain server --job 1 --account dev:0 --data digits --leave & server=$!
galaxy-chain client --job 1 --account dev:1 --data digits --shard 1/2 --leave & one=$!
galaxy-chain client --job 1 --account dev:2 --data digits --shard 2/2 --leave & two=$!
wait $server; wait $one; wait $two

galaxy-chain job show 1                                         # terms, participants, money, rounds
galaxy-chain audit 1                                            # recomputes every round; needs no key
galaxy-chain job export 1 --to model.safetensors                # the trained model, for anybody who reaches the store
