"""Training a model folder: schedule, callbacks, diagnosis, hints, fine-tuning."""
