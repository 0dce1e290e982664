//! Kafka protocol: frames, headers, error codes, record batches read in place, messages generated from our own definitions.
