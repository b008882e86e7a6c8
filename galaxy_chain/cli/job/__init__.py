"""The commands of galaxy-chain job, one file each."""
