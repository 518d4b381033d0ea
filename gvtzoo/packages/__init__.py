"""Model packages in the BioImage.IO format: writing, opening, checking, importing."""

import os

# Since 1.29 onnxruntime reports every session to Microsoft unless this is set before it starts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
