"""The study: are detectors trained in the two frameworks equally good? docs/study.md is its protocol in words."""
