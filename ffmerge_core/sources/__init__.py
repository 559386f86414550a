"""Where a model comes from: demos, folders, modules in memory; and the data beside it."""
