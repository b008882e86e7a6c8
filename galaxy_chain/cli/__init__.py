"""The commands of galaxy-chain, one file each."""
