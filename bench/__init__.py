"""What the two packages cost beside their peers: `python -m bench`, and the same work under pytest-benchmark."""
