"""The rule-book of rollouts: its tables, its races, and a walk over every state that it can reach."""
