"""The commands of galaxy-chain key, one file each."""
