//! The binary: runs the command that the arguments name.

use std::process::ExitCode;

use incident_gateway::cli;
use incident_gateway::config::Environment;
use incident_gateway::memory::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &Environment::of_process())
}
