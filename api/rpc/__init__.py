"""The gRPC door: tidelog.v1 over HTTP/2, health and reflection; all of gRPC that a node knows."""
