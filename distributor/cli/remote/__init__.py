"""Verbs that work through a server's HTTP API instead of the ledger itself: the same checks, the same documents."""

REMOTE = frozenset(
    {
        "abort", "approve", "audit", "call_trigger", "changes", "deploy", "detach", "discard_letter", "follow",
        "freeze", "freezes", "hold", "list_held", "list_letters", "list_triggers", "pin", "plan", "product",
        "promote", "refresh", "reject", "release_held", "release_hold", "releases", "requests", "retry_held",
        "retry_letter", "rollback", "rollout", "rollouts", "show_letter", "status", "unfreeze", "withdraw",
    }
)  # fmt: skip
"""The functions of those verbs, by name. Said here so that no other verb loads what speaks HTTP."""
