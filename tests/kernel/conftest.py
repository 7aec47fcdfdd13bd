"""How the properties of this folder are searched."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure: what a test must not do is answer wrongly, however long it takes.
settings.register_profile("house", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
