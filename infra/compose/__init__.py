"""The same system on container images: what `docker-compose.yml` mounts, and `prepare`, which makes its secrets."""
