"""Distributor: event-driven product-data distribution. The map of the rooms is docs/architecture.md."""
