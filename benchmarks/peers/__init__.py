"""The same checkpoint in other runtimes, each in an environment of its own, taking turns with Triptych."""
