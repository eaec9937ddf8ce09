"""Training logs of other people's runs: read into one neutral record, audited, looked at for signs, compared."""
