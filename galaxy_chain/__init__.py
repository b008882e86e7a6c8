"""Galaxy's ledger layer: federated rounds on a blockchain that anyone can recompute to the bit."""
