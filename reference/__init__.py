"""The other side: a small GPT from a recipe in PyTorch, the papers' equations, and the named mistakes."""
