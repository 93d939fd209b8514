"""Code as it is uploaded, taken apart, stored once and put together again."""
