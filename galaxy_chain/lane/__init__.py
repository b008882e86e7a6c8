"""The lane of clients that sign and leave it to others to hand in: inboxes, relays, and what a client keeps of it."""
