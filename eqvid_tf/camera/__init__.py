"""The camera: frames registered on a reference, its motion measured, and taken out."""
