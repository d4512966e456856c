"""The APIs that the simulator speaks, one module each."""
