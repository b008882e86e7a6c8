"""Jobs as people write them, what their terms come to, and creating them on a ledger."""
