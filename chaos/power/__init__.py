"""Power loss: what a run has written and synced, and the disks that it may have left behind."""
