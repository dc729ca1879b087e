"""Predictors: model servers, files of predictions, models loaded in the worker."""
