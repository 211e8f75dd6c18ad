"""What pytest collects."""

from importlib.util import find_spec

# Modules with doctests are imported, and these import what the extra "onnx" installs.
collect_ignore_glob = [] if find_spec("onnxscript") else ["src/counterpoise/inference/onnx_*.py"]
