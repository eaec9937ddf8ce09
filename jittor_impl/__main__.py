"""`python -m jittor_impl VERB`; see --help."""

import sys

from jittor_impl.framework import JittorFramework
from parity.cli import main

sys.exit(main(JittorFramework))
