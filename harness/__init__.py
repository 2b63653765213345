"""Claims about a GPT as checks that run, and that could have failed."""
