"""From the results of a study to its answers: pure functions, plain sentences, the numbers.

Verdicts follow from the numbers alone. A question is judged as the claim that it is, universal,
trend or comparison (``claims``), by statistics that share 5 % over a study (``statistics``); one
seed is judged by the noise that its run shows (``noise``).
"""
