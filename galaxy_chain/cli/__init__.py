"""The commands of galaxy-chain, a file each."""
