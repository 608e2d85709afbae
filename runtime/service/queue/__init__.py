"""The queue of image requests, and batching of requests that can share a pipeline call."""
