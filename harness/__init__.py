"""What tests, benchmarks and chaos runs stand on. For development only: not part of the shipped package."""
