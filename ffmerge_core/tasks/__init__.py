"""What a model is for: data in three splits, a loss and a metric with its interval."""
