"""The rule-book of rollouts, pure: what a coordinator decides and what a member does. No I/O, no clock, no ids."""
