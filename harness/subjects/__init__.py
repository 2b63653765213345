"""Whoever can be observed: the model under test in a process of its own, and the references beside it."""
