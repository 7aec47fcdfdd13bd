"""Settings: what they mean, their defaults and bounds, and where each value comes from."""

from outlast.config.service import Queue, RateLimit, parse_queues
from outlast.config.settings import (
    DEFAULT_URL,
    Config,
    Options,
    app_from_pyproject,
    make_config,
    option_names,
    resolve,
)
from outlast.config.values import DAY_S, Duration, checked_name, days, duration_s, hours, minutes, seconds, shown

__all__ = [
    "DAY_S",
    "DEFAULT_URL",
    "Config",
    "Duration",
    "Options",
    "Queue",
    "RateLimit",
    "app_from_pyproject",
    "checked_name",
    "days",
    "duration_s",
    "hours",
    "make_config",
    "minutes",
    "option_names",
    "parse_queues",
    "resolve",
    "seconds",
    "shown",
]
