//! The promise: an open file reads, writes and seeks in order, also when the futures of operations are
//! dropped: no byte is lost, written twice, or out of place.
#![allow(missing_docs)]

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use filch::fs::{File, OpenOptions};
use filch::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use filch_tests::poll_once;

/// A path of the test's own, whose file goes with it.
struct Spot(PathBuf);

impl Spot {
    fn new(bytes: &str) -> Spot {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("filch-file-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Spot(path)
    }

    async fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.0).await.unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[filch::test]
async fn reads_writes_and_seeks() {
    let spot = Spot::new("0123456789");
    let mut file = spot.open().await;
    let mut four = [0; 4];
    file.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"0123");
    file.write_all(b"xy").await.unwrap();
    assert_eq!(file.seek(SeekFrom::Current(1)).await.unwrap(), 7);
    let mut rest = String::new();
    file.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "789");
    assert_eq!(file.read(&mut four).await.unwrap(), 0);
    assert_eq!(spot.text(), "0123xy6789");
    assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), 9);
    assert!(file.seek(SeekFrom::Current(-10)).await.is_err(), "before the start");
    let bufs = [io::IoSlice::new(b"a"), io::IoSlice::new(b""), io::IoSlice::new(b"bc")];
    assert_eq!(file.write_vectored(&bufs).await.unwrap(), 3);
    assert_eq!(file.write(b"").await.unwrap(), 0);
    file.flush().await.unwrap();
    file.close().await.unwrap();
    assert_eq!(spot.text(), "0123xy678abc");
}

#[filch::test]
async fn the_other_methods() {
    let spot = Spot::new("0123456789");
    let mut file = spot.open().await;
    file.set_len(4).await.unwrap();
    file.sync_all().await.unwrap();
    file.sync_data().await.unwrap();
    assert_eq!(file.metadata().await.unwrap().len(), 4);
    let mut permissions = file.metadata().await.unwrap().permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions).await.unwrap();
    // One position for both.
    let mut clone = file.try_clone().await.unwrap();
    let mut two = [0; 2];
    file.read_exact(&mut two).await.unwrap();
    clone.read_exact(&mut two).await.unwrap();
    assert_eq!(&two, b"23");
    file.set_max_buf_size(0);
    assert_eq!(file.max_buf_size(), 1);
    file.seek(SeekFrom::Start(0)).await.unwrap();
    assert_eq!(file.read(&mut two).await.unwrap(), 1);
    assert_eq!(file.write(b"ab").await.unwrap(), 1);
    assert_eq!(spot.text(), "0a23");
    let file: std::fs::File = file.into_std().await;
    drop(File::from_std(file).try_into_std().unwrap());
    assert!(File::create_new(&spot.0).await.is_err(), "there is one");
    let mut log = File::options().append(true).open(&spot.0).await.unwrap();
    log.write_all(b"+").await.unwrap();
    assert_eq!(spot.text(), "0a23+");
    drop(File::create(&spot.0).await.unwrap());
    assert_eq!(spot.text(), "");
}

#[filch::test]
async fn errors_name_the_file() {
    let spot = Spot::new("x");
    let mut file = File::open(&spot.0).await.unwrap();
    let error = file.write(b"x").await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot write {}", spot.0.display())), "{error}");
    let mut folder = File::open("/").await.unwrap();
    let error = folder.read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().contains("cannot read /"), "{error}");
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    let error = File::from_std(std::fs::File::open("/").unwrap()).read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().contains("cannot read the file"), "{error}");
}

#[filch::test]
async fn what_a_dropped_read_took_comes_with_the_next() {
    let spot = Spot::new("0123456789");
    let mut file = spot.open().await;
    for _ in 0..50 {
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let (mut lost, mut four) = ([0; 8], [0; 4]);
        // Dropped with its job in the pool.
        assert!(poll_once(&mut file.read(&mut lost)).await.is_none_or(|read| read.unwrap() == 8));
        if lost == [0; 8] {
            file.read_exact(&mut four).await.unwrap();
            assert_eq!(&four, b"0123");
            // Four more are there, and are wound back over.
            assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), 4);
        }
    }
    file.seek(SeekFrom::Start(0)).await.unwrap();
    let mut eight = [0; 8];
    if poll_once(&mut file.read(&mut eight)).await.is_none() {
        file.write_all(b"W").await.unwrap();
        assert_eq!(spot.text(), "W123456789", "written where the reader was");
    }
    file.seek(SeekFrom::Start(2)).await.unwrap();
    if poll_once(&mut file.read(&mut eight)).await.is_none() {
        let mut std = file.into_std().await;
        assert_eq!(io::Seek::stream_position(&mut std).unwrap(), 2);
    }
}

#[filch::test]
async fn a_dropped_write_is_done_once() {
    for _ in 0..50 {
        let spot = Spot::new("");
        let mut file = spot.open().await;
        let seen = poll_once(&mut file.write(b"abc")).await.is_some();
        if !seen {
            // The same again: to wait on.
            assert_eq!(file.write(b"abc").await.unwrap(), 3);
        }
        assert_eq!(spot.text(), "abc");
        let seen = poll_once(&mut file.write(b"de")).await.is_some();
        // Another: both.
        file.write_all(b"fgh").await.unwrap();
        assert_eq!(spot.text(), "abcdefgh", "seen: {seen}");
        // A longer one that begins alike: the rest is written by the loop.
        if poll_once(&mut file.write(b"ij")).await.is_none() {
            file.write_all(b"ijk").await.unwrap();
            assert_eq!(spot.text(), "abcdefghijk");
        }
        file.flush().await.unwrap();
    }
}

#[filch::test]
async fn methods_wait_for_a_dropped_write() {
    for _ in 0..50 {
        let spot = Spot::new("");
        let mut file = spot.open().await;
        let _ = poll_once(&mut file.write(b"abc")).await;
        assert_eq!(file.metadata().await.unwrap().len(), 3);
        let _ = poll_once(&mut file.write(b"abc")).await;
        file.set_len(1).await.unwrap();
        assert_eq!(spot.text(), "a");
    }
}

#[filch::test]
async fn the_error_of_a_dropped_write_is_the_next_ones() {
    let spot = Spot::new("abc");
    let mut told = 0;
    for _ in 0..50 {
        let mut file = File::open(&spot.0).await.unwrap();
        if poll_once(&mut file.write(b"x")).await.is_none() {
            let error = file.seek(SeekFrom::Start(1)).await.unwrap_err();
            assert!(error.to_string().contains("cannot write"), "{error}");
            told += 1;
        }
        // Told once; the file goes on.
        assert_eq!(file.seek(SeekFrom::Start(1)).await.unwrap(), 1);
    }
    assert!(told > 0, "no write was dropped in time");
}

#[filch::test]
async fn a_dropped_seek_is_done_once() {
    let spot = Spot::new("0123456789");
    let mut file = spot.open().await;
    for _ in 0..50 {
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let position = match poll_once(&mut file.seek(SeekFrom::Current(3))).await {
            Some(position) => position.unwrap(),
            None => file.seek(SeekFrom::Current(3)).await.unwrap(),
        };
        assert_eq!(position, 3);
    }
}

#[filch::test]
async fn tokios_traits_do_the_same() {
    let spot = Spot::new("0123456789");
    let mut file = spot.open().await;
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut file, &mut text).await.unwrap();
    assert_eq!(text, "0123456789");
    assert_eq!(tokio::io::AsyncSeekExt::seek(&mut file, SeekFrom::Start(8)).await.unwrap(), 8);
    assert_eq!(tokio::io::AsyncSeekExt::stream_position(&mut file).await.unwrap(), 8);
    tokio::io::AsyncWriteExt::write_all(&mut file, b"abc").await.unwrap();
    tokio::io::AsyncWriteExt::flush(&mut file).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut file).await.unwrap();
    assert_eq!(spot.text(), "01234567abc");
}
