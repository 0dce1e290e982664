//! A durable partition log in Kafka segment format, over a Disk trait.
