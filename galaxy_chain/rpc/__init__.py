"""JSON-RPC to the nodes of a chain: fail-over between them, and distrust of what they answer."""
