"""Two frameworks side by side: manifests, audit, statistics, findings."""
