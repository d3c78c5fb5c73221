"""The outside world, one file per outside thing; nothing here decides."""
