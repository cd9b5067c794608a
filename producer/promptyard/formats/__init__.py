"""How files become jobs, and results become files."""
