"""A provider on localhost: to rehearse a batch against, and to measure our own pacing with."""
