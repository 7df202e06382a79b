"""Consumers: one process per member. Each loads changesets into its system's shadow and answers with what is stored."""
