//! What the platform asks of any Kafka cluster: producer and consumer by librdkafka, other admin requests over wire.
