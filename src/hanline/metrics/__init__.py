"""Metrics: how close readings are to their labels.

A metric is one class. :func:`hanline.metrics.registry.metrics` finds it in a module of this
package, or by an entry point ``hanline.metrics`` of an installed package. Training, evaluation,
logs, checkpoints and model cards walk that list and name no metric themselves.
"""
