//! Parses the command line, runs the command, and turns its result into the exit code.

fn main() {}
