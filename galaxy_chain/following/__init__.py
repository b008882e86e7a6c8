"""Following a job on the chain: its events, in order, through reorganisations, folded into its history."""
