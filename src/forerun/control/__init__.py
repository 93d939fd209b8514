"""What users own, who they are, what they may do, and the way of their invocations; it knows no AWS JSON."""
