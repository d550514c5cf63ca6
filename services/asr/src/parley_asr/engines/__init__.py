"""Recognition engines and voice activity detectors, one file per family. Opened by `bootstrap` only."""
