"""What is stored against what the release says: audits of members, single wrong rows, and lists that mend them."""
