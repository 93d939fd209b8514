"""The engine process of a control plane: ``python -m forerun.cluster.engine``. It ends with its input; the engine goes on."""

import sys

from forerun.cluster.engine.process import main

sys.exit(main())
