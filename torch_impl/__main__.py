"""`python -m torch_impl VERB`; see --help."""

import sys

from parity.cli import main
from torch_impl.framework import TorchFramework

sys.exit(main(TorchFramework))
