"""The benchmark of admission: the whole engine and two clients by hand, against one simulator."""
