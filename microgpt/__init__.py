"""The model under test; all of it is in microgpt.py."""
