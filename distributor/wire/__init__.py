"""The messages: CloudEvents as pydantic models, and the topology as data. No driver."""
