"""The same crash run for Outlast and for its peers: `python -m chaos.peers --help`."""
