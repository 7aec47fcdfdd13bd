"""Objects at run time: who is in memory here, what their calls leave behind, and what comes from elsewhere."""

from outlast._runtime.objects.keeper import Keeper

__all__ = ["Keeper"]
