"""Other runtimes on the same checkpoint, each in an environment of its own, alternating with Triptych."""
