"""The version of this release, said once."""

VERSION = "0.1.0"
