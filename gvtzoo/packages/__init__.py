"""Model packages in the BioImage.IO format: writing, opening, checking, importing.

Imports what lies below (`gvtzoo.recipes` and lower); everything from prediction up may import it.
"""

import os

# Since 1.29 onnxruntime reports every session to Microsoft unless this is set before it starts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
