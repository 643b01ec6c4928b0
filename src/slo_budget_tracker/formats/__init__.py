"""SLO files of others, read as they are: each document becomes a native one that stands at its lines."""
