"""S3's API: its own door, since bodies of objects are never held in memory, and a file for each kind of resource."""
