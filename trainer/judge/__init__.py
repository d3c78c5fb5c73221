"""What the gate of a text task asks: baselines, slices, calibration, fairness, cost."""
