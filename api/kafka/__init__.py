"""The Kafka wire listener: frames in, use cases of `api.broker`, frames out."""
