"""`vitcli serve`: runs and studies in a browser of this machine, from their files. No torch."""
