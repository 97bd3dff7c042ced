"""Studies: one table or figure of the paper as cells x seeds, planned, launched and watched."""
