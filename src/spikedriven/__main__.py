"""`python -m spikedriven`, also under torchrun: `torchrun --nproc-per-node 4 -m spikedriven
train ...`.
"""

import sys

from spikedriven.cli import main

if __name__ == "__main__":
    sys.exit(main())
