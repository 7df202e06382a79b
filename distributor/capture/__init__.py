"""Master to changed rows: triggers and their journal, and rows as canonical text."""
