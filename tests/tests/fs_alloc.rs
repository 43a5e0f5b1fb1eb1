//! The promise: a file that is read and written again and again allocates nothing. In a binary of its own,
//! since its allocator counts for all threads.
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use filch::fs::OpenOptions;
use filch::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_read_allocates_nothing() {
    let path = std::env::temp_dir().join(format!("filch-alloc-{}", std::process::id()));
    filch::run(async {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).await.unwrap();
        let mut buf = vec![1; 16 << 10];
        let mut before = 0;
        for round in 0..1_500 {
            if round == 500 {
                before = ALLOCATIONS.load(Relaxed);
            }
            file.seek(SeekFrom::Start(0)).await.unwrap();
            file.write_all(&buf).await.unwrap();
            file.seek(SeekFrom::Start(0)).await.unwrap();
            file.read_exact(&mut buf).await.unwrap();
        }
        let made = ALLOCATIONS.load(Relaxed) - before;
        // 4,000 operations, 1,000 of each kind: had one of them to allocate, it would be more. The monitor that looks
        // after busy threads makes a few, and so do a thread that comes or goes, and memory that changes hands in bulk.
        assert!(made < 1_000, "{made} allocations");
    });
    std::fs::remove_file(&path).unwrap();
}
