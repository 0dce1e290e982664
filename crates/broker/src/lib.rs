//! Runs the broker: listeners, connections, one handler per API key, shards.
