use std::os::unix::fs::symlink;

use super::*;

fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn write(path: &Path, document: &'static str) {
    Output::open(Some(path)).unwrap().write(Bytes::from_static(document.as_bytes())).await.unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

#[tokio::test]
async fn opening_leaves_everything_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    Output::open(Some(&path)).unwrap();
    assert!(file_names(directory.path()).is_empty());
    fs::write(&path, "old").unwrap();
    Output::open(Some(&path)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(file_names(directory.path()), ["out.json"]);
}

#[tokio::test]
async fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    write(&path, "first").await;
    assert_eq!(mode(&path) & 0o600, 0o600);
    for kept in [0o600, 0o640, 0o644, 0o666, 0o755, 0o200] {
        fs::set_permissions(&path, Permissions::from_mode(kept)).unwrap();
        let before = inode(&path);
        write(&path, "second").await;
        assert_eq!(mode(&path), kept, "{kept:o}");
        assert_ne!(inode(&path), before, "readers of the former file still read that");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    assert_eq!(file_names(directory.path()), ["out.json"]);
}

#[tokio::test]
async fn a_file_keeps_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
    write(&path, "new").await;
    let metadata = path.metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1234, 4321));
}

#[tokio::test]
async fn a_symbolic_link_stays_and_leads_to_the_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("data")).unwrap();
    // A chain of a relative and an absolute link; the first document creates the file.
    symlink("middle", at("link")).unwrap();
    symlink(at("data/out.json"), at("middle")).unwrap();
    for document in ["first", "second"] {
        write(&at("link"), document).await;
        assert!(at("link").is_symlink() && at("middle").is_symlink());
        assert!(at("data/out.json").symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_to_string(at("link")).unwrap(), document);
    }
    assert_eq!(file_names(&at("data")), ["out.json"]);
    symlink("loop", at("loop")).unwrap();
    assert!(Output::open(Some(&at("loop"))).is_err());
}

#[tokio::test]
async fn a_file_with_hard_links_is_written_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("a"), "much longer than the new document").unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    write(&at("a"), "new").await;
    assert_eq!(fs::read_to_string(at("b")).unwrap(), "new");
}

#[tokio::test]
async fn special_files_are_written_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let output = Output::open(Some(&fifo)).unwrap();
    let reader = spawn_blocking({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    output.write(Bytes::from_static(b"document")).await.unwrap();
    assert_eq!(reader.await.unwrap(), "document");
    assert!(fifo.metadata().unwrap().file_type().is_fifo());
    write(Path::new("/dev/null"), "document").await;
    let full = Output::open(Some(Path::new("/dev/full"))).unwrap();
    let error = full.write(Bytes::from_static(b"document")).await.unwrap_err();
    assert!(matches!(error, OutputError::File(message) if message.contains("/dev/full")));
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_the_former_file_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    fs::write(&path, "old").unwrap();
    let output = Output::open(Some(&path)).unwrap();
    {
        let mut write = Box::pin(output.write(Bytes::from_static(b"new")));
        assert!(futures::poll!(&mut write).is_pending());
        assert_eq!(file_names(directory.path()).len(), 2);
    }
    assert_eq!(file_names(directory.path()), ["out.json"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn stdout_has_several_names() {
    for path in [None, Some(Path::new("-")), Some(Path::new("/dev/stdout"))] {
        assert!(matches!(Output::open(path), Ok(Output::Stdout)), "{path:?}");
    }
}

#[test]
fn a_path_that_cannot_be_written_is_refused_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (path, reason) in [
        (at("absent/out.json"), "there is no such directory; create it, or name a file elsewhere"),
        (at("absent/"), "names a directory; name a file in it"),
        (at("."), "names a directory; name a file in it"),
        (at("file/out.json"), "name a file elsewhere"),
        (at("socket"), "it is a socket; name a file elsewhere"),
        (at(&"x".repeat(300)), "name a file elsewhere"),
    ] {
        let refusal = Output::open(Some(&path)).unwrap_err();
        let names_path = refusal.contains(&path.display().to_string());
        assert!(names_path && refusal.ends_with(reason), "{refusal}");
        assert!(!refusal.contains('\n'));
    }
    assert_eq!(file_names(directory.path()), ["file", "socket"], "nothing is left behind");
}
