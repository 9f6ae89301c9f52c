//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory; unmounted when dropped.
pub(super) struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Mounts it with this size, such as `3m`. `None`, with a message on stderr, where it cannot be
    /// mounted: that needs root. With `INCIDENT_GATEWAY_NO_SKIP`, as in CI, the test fails then.
    pub(super) fn mount(test: &str, size: &str) -> Option<Self> {
        let disk = Self { directory: tempfile::tempdir().unwrap() };
        if disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]) {
            return Some(disk);
        }
        assert!(
            std::env::var_os("INCIDENT_GATEWAY_NO_SKIP").is_none(),
            "{test}: no file system can be mounted; run as root"
        );
        eprintln!("SKIPPED {test}: no file system can be mounted; run as root");
        None
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn enlarge(&self, size: &str) {
        assert!(self.run("mount", &["-o", &format!("remount,size={size}")]), "it can be enlarged");
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.path());
        command.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}
