"""Everything that is claimed about tokentrail."""
