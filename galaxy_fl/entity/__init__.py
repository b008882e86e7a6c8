"""What PFL calls entities: a job."""
