"""Many clips, each its own model: a manifest, the stages of a clip, where they run, and the report."""
