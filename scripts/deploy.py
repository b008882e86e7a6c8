#!/usr/bin/env python
"""Deploy a ledger with its rules to any chain: `galaxy-chain deploy`, for those who look for a script.

GALAXY_KEY=0x… scripts/deploy.py --rpc https://…  --ledger ledger.json
"""

from __future__ import annotations

import sys

from galaxy_chain.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["deploy"]
    main()
