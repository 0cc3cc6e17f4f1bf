"""Why: each question's causes, measured, each with the counterfactual runs that could refute it."""
