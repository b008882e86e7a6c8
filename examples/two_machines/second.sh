#!/usr/bin/env bash
# The second of two machines: a client with data of its own, and an audit that trusts nobody on the first.
#   ./second.sh HOST LEDGER [FOLDER]   HOST: the first machine; LEDGER: the ledger.json that it has made
set -euo pipefail
host=${1:?the first machine} ledger=$(realpath "${2:?the ledger.json of the first machine}") folder=${3:-$(mktemp -d)}
cd "$folder"

cat > galaxy.toml << SETTINGS
rpc = "http://$host:${CHAIN_PORT:-8545}"
ledger = "$ledger"
store = "http://$host:${STORE_PORT:-8550}"
account = "dev:1"
SETTINGS

galaxy-chain client --job 1 --data digits --leave
galaxy-chain audit 1
galaxy-chain job export 1 --to model.safetensors
