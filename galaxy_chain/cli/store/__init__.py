"""The commands of galaxy-chain store, one file each."""
