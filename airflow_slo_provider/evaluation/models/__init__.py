"""Where predictions come from: model servers, files, models in the worker."""
