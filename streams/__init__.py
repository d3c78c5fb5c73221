"""The Faust worker: validate, join, measure, decide; and the sink that copies topics to tables."""
