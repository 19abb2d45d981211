"""``python -m bench``: the comparison with the peers."""
import sys

from bench.peers import main

sys.exit(main())
