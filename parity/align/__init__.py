"""The alignment ladder: do two frameworks compute the same, from the configuration up to AP?"""
