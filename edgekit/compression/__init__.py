"""Makes a model smaller: every module here holds Keras and runs in a worker."""
