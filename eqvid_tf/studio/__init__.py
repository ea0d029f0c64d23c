"""The studio: a local page on which a clip is inspected, trained, taken apart, dragged, and exported."""
