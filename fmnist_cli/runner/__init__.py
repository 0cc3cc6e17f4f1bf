"""Makes recorded runs: one training, a study of many, resumed or reproduced; prints nothing."""
