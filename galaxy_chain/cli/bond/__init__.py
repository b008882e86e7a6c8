"""The commands of galaxy-chain bond, one file each."""
