"""What a job is: its document, its model, how its clients train."""
