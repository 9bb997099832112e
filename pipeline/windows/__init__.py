"""Windows over facts: buckets, sketches, partials and their merge, watermarks. Pure: no Kafka, no wall clock."""
