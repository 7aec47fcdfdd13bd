"""Where operations meet."""

from tests.lab.scenes.families import Cousins, Family
from tests.lab.scenes.keys import Keyed
from tests.lab.scenes.limits import Rates, Single, Slots
from tests.lab.scenes.objects import Expired, Owned
from tests.lab.scenes.scene import Scene
from tests.lab.scenes.schedules import Ticks
from tests.lab.scenes.steps import Due, Running, Waiting
from tests.lab.scenes.workflows import Called, Crossed, Ended

SCENES: dict[str, type[Scene]] = {
    scene.__name__.lower(): scene
    for scene in (
        Running,
        Waiting,
        Due,
        Family,
        Cousins,
        Called,
        Crossed,
        Ended,
        Keyed,
        Slots,
        Single,
        Rates,
        Owned,
        Expired,
        Ticks,
    )
}
"""By name."""

__all__ = ["SCENES", "Scene"]
