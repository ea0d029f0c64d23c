"""Motion templates: their checks, the catalog, and previews; those that come with the package are in `shipped/`."""
