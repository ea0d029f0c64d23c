"""How good a result is: the scorecard, the baseline, their comparison, the check of a clip, and the demo."""
