"""Looking after the store: bases so that nobody starts at release 0, and the end of what nobody needs."""
