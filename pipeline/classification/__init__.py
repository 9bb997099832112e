"""Judging answers: what a classifier is, which answers are judged, and the small classifiers that come with it."""
