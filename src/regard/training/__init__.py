"""Training (floor 5): the one loop, its optimizer, resume, precision and records."""
