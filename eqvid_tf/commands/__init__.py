"""The commands of `eqvid`, a module each: TEXT, EXAMPLE, arguments(parser) and run(args) -> exit code."""
