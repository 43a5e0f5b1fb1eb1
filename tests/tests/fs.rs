//! The promise: files and folders without blocking a worker, by the names of the standard library, with
//! errors that say what was tried and where; and a file that is written atomically is the old one or the new
//! one.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use filch::fs;
use filch_tests::{Child, child_case, watched, workers};

/// A folder of the test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("filch-fs-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[filch::test]
async fn whole_files_and_their_names() {
    let folder = Folder::new();
    let (a, b, c) = (folder.path("a"), folder.path("b"), folder.path("c"));
    fs::write(&a, "one").await.unwrap();
    assert_eq!(fs::read(&a).await.unwrap(), b"one");
    fs::rename(&a, &b).await.unwrap();
    assert!(!fs::try_exists(&a).await.unwrap() && fs::try_exists(&b).await.unwrap());
    fs::hard_link(&b, &c).await.unwrap();
    fs::remove_file(&b).await.unwrap();
    assert_eq!(fs::read_to_string(&c).await.unwrap(), "one");
    fs::symlink("c", &a).await.unwrap();
    assert_eq!(fs::read_link(&a).await.unwrap(), Path::new("c"));
    assert!(fs::symlink_metadata(&a).await.unwrap().is_symlink());
    assert_eq!(fs::metadata(&a).await.unwrap().len(), 3);
    assert_eq!(fs::canonicalize(&a).await.unwrap(), std::fs::canonicalize(&c).unwrap());
    fs::set_permissions(&c, fs::Permissions::from_mode(0o600)).await.unwrap();
    assert_eq!(fs::metadata(&c).await.unwrap().permissions().mode() & 0o777, 0o600);
}

#[filch::test]
async fn folders() {
    let folder = Folder::new();
    fs::create_dir(folder.path("a")).await.unwrap();
    fs::create_dir_all(folder.path("a/b/c")).await.unwrap();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.path("d/e")).await.unwrap();
    assert_eq!(fs::metadata(folder.path("d/e")).await.unwrap().permissions().mode() & 0o777, 0o700);
    // More than one job reads ahead.
    let mut there = BTreeSet::new();
    for number in 0..100 {
        std::fs::write(folder.path(&format!("a/{number}")), "x").unwrap();
        there.insert(format!("{number}"));
    }
    there.insert("b".to_owned());
    let (mut seen, mut folders) = (BTreeSet::new(), 0);
    let mut entries = fs::read_dir(folder.path("a")).await.unwrap();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        let kind = entry.file_type().await.unwrap();
        assert_eq!(kind.is_dir(), entry.metadata().await.unwrap().is_dir());
        assert_eq!(entry.path().parent(), Some(folder.path("a").as_path()));
        folders += u32::from(kind.is_dir());
        seen.insert(entry.file_name().into_string().unwrap());
    }
    assert!(entries.next_entry().await.unwrap().is_none(), "the end stays the end");
    assert_eq!((seen, folders), (there, 1));
    assert!(fs::remove_dir(folder.path("a")).await.is_err(), "not empty");
    fs::remove_dir(folder.path("d/e")).await.unwrap();
    fs::remove_dir_all(folder.path("a")).await.unwrap();
    assert_eq!(folder.names().into_iter().collect::<Vec<_>>(), ["d"]);
}

#[filch::test]
async fn errors_say_what_was_tried_and_where() {
    let folder = Folder::new();
    let none = folder.path("none");
    let text = none.display().to_string();
    for (doing, error) in [
        ("read", fs::read(&none).await.unwrap_err()),
        ("open", fs::File::open(&none).await.unwrap_err()),
        ("look at", fs::metadata(&none).await.unwrap_err()),
        ("read the folder", fs::read_dir(&none).await.unwrap_err()),
        ("rename", fs::rename(&none, folder.path("b")).await.unwrap_err()),
        ("copy", fs::copy(&none, folder.path("b")).await.unwrap_err()),
        ("remove", fs::remove_file(&none).await.unwrap_err()),
        ("resolve", fs::canonicalize(&none).await.unwrap_err()),
    ] {
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(&format!("cannot {doing} {text}")), "{error}");
        let source = error.get_ref().and_then(Error::source).and_then(|e| e.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::ENOENT));
    }
    std::fs::write(&none, [0xff]).unwrap();
    assert_eq!(fs::read_to_string(&none).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn without_a_runtime_there_is_an_error() {
    let error = futures_lite::future::block_on(fs::read("Cargo.toml")).unwrap_err();
    assert!(error.to_string().contains("no filch runtime"), "{error}");
}

#[filch::test(paused)]
async fn it_works_on_the_paused_clock() {
    let folder = Folder::new();
    fs::write(folder.path("a"), "x").await.unwrap();
    assert_eq!(fs::read(folder.path("a")).await.unwrap(), b"x");
}

#[filch::test]
async fn copies_tell_how_far_they_are() {
    let folder = Folder::new();
    let (from, to) = (folder.path("from"), folder.path("to"));
    let bytes: Vec<u8> = (0..9 << 20).map(|n: u32| (n / 7) as u8).collect();
    std::fs::write(&from, &bytes).unwrap();
    std::fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).unwrap();
    let mut told = Vec::new();
    let copied = fs::copy_with(&from, &to, |progress| told.push((progress.copied, progress.total)));
    assert_eq!(copied.await.unwrap(), 9 << 20);
    assert_eq!(told, [(4 << 20, 9 << 20), (8 << 20, 9 << 20), (9 << 20, 9 << 20)]);
    assert!(std::fs::read(&to).unwrap() == bytes);
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o640);
    // Over a longer file nothing of it is left.
    std::fs::write(&from, "short").unwrap();
    assert_eq!(fs::copy(&from, &to).await.unwrap(), 5);
    assert_eq!(std::fs::read(&to).unwrap(), b"short");
    // The same file by another name is not lost.
    std::fs::hard_link(&from, folder.path("again")).unwrap();
    let error = fs::copy(&from, folder.path("again")).await.unwrap_err();
    assert!(error.to_string().contains("same file"), "{error}");
    assert_eq!(std::fs::read(&from).unwrap(), b"short");
    assert!(fs::copy(&folder.0, &to).await.unwrap_err().to_string().contains("not a regular file"));
}

#[filch::test]
async fn atomic_writes_keep_rights_and_links() {
    let folder = Folder::new();
    let file = folder.path("file");
    fs::write_atomic(&file, "one").await.unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).await.unwrap();
    fs::symlink("file", folder.path("link")).await.unwrap();
    fs::write_atomic(folder.path("link"), "two").await.unwrap();
    assert!(std::fs::symlink_metadata(folder.path("link")).unwrap().is_symlink());
    assert_eq!(std::fs::read(&file).unwrap(), b"two");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o400);
    // What cannot be replaced stays, and nothing else does.
    std::fs::create_dir(folder.path("dir")).unwrap();
    let error = fs::write_atomic(folder.path("dir"), "x").await.unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    assert!(fs::write_atomic(folder.path("none/file"), "x").await.unwrap_err().to_string().contains("none"));
    assert!(fs::write_atomic("/", "x").await.is_err());
    assert_eq!(folder.names().len(), 3, "{:?}", folder.names());
}

#[test]
fn whoever_reads_finds_the_old_file_or_the_new_one() {
    watched(|| {
        let folder = Folder::new();
        let path = folder.path("file");
        // Long enough that a plain write would be seen half done.
        let versions: Vec<Vec<u8>> = (0..4).map(|n| vec![b'0' + n; 1 << 20]).collect();
        std::fs::write(&path, &versions[0]).unwrap();
        let (done, reads) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let there = std::fs::read(&path).unwrap();
                    assert!(versions.contains(&there), "half of a file of {} bytes", there.len());
                    reads.fetch_add(1, Relaxed);
                }
            });
            workers(2).block_on(async {
                let mut written = 0;
                while written < 20 || reads.load(Relaxed) < 20 {
                    fs::write_atomic(&path, &versions[written % 4]).await.unwrap();
                    written += 1;
                }
            });
            done.store(true, Relaxed);
        });
        assert_eq!(folder.names().into_iter().collect::<Vec<_>>(), ["file"]);
    });
}

/// A limit on the size of files stands for a disk that is full: a write is short, and the next one fails.
#[test]
fn a_full_disk_leaves_the_old_file_and_no_other() {
    if child_case().is_some() {
        let folder = Folder::new();
        let path = folder.path("file");
        filch::run(async {
            fs::write_atomic(&path, "old").await.unwrap();
            let error = fs::write_atomic(&path, vec![b'x'; 1 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.names().into_iter().collect::<Vec<_>>(), ["file"]);
        return;
    }
    // Without the signal, which would end the process, the limit is an error.
    let child = Child::new("a_full_disk_leaves_the_old_file_and_no_other", "full");
    child.ulimit("-f 64 && trap '' XFSZ").succeeds();
}
