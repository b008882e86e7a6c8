"""The commands of galaxy-chain account, one file each."""
