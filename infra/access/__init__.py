"""Who may see and do what: one table of grants, and everything that is made of it."""
