"""What all adapters of remote APIs share; ``adapter`` is read first."""
