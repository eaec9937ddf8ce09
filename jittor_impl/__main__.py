"""`python -m jittor_impl VERB`; see --help."""

import sys

from parity.cli import main
from parity.errors import UserError

try:
    from jittor_impl.framework import JittorFramework
except UserError as error:  # Jittor compiles while it is imported: what it needs is checked before any verb begins
    print(error, file=sys.stderr)
    sys.exit(2)

sys.exit(main(JittorFramework))
