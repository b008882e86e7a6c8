"""Transactions of one account: signed, paid for, followed until they are final."""
