"""Who may do what: roles, acts, and the environments that a key is for. Pure."""

from distributor.access.roles import Act, ForbiddenError, Principal, Role, check, sees

__all__ = ["Act", "ForbiddenError", "Principal", "Role", "check", "sees"]
