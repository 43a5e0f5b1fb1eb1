//! Models of `Barrier`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::task::AtomicUsize;
use crate::shim::{model, thread};

/// Three parties, each of which sees what the others did before. One leads.
#[test]
fn model_all_pass_and_one_leads() {
    model(|| {
        let shared = Arc::new((Barrier::new(3), [(); 3].map(|()| AtomicUsize::new(0))));
        let pass = |shared: &(Barrier, [AtomicUsize; 3]), id: usize| {
            shared.1[id].store(1, Relaxed);
            let passed = if id == 0 { shared.0.wait_blocking() } else { block_on(shared.0.wait()) };
            assert_eq!(shared.1.each_ref().map(|one| one.load(Relaxed)), [1; 3]);
            usize::from(passed.is_leader())
        };
        let threads = [1, 2].map(|id| {
            let shared = shared.clone();
            thread::spawn(move || pass(&shared, id))
        });
        let leaders = pass(&shared, 0) + threads.map(|thread| thread.join().unwrap()).iter().sum::<usize>();
        assert_eq!((leaders, shared.0.arrived(), shared.0.now().generation), (1, 0, 1));
    });
}

/// Two rounds of two: nobody passes twice in one, and each has a leader.
#[test]
fn model_two_rounds() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let rounds = |barrier: &Barrier| [(); 2].map(|()| usize::from(block_on(barrier.wait()).is_leader()));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || rounds(&barrier))
        };
        let mine = rounds(&barrier);
        let theirs = other.join().unwrap();
        assert_eq!([mine[0] + theirs[0], mine[1] + theirs[1]], [1, 1]);
        assert_eq!((barrier.arrived(), barrier.now().generation), (0, 2));
    });
}

/// One party gives up while another arrives: either it counted, and the other passed, or the other waits.
#[test]
fn model_withdrawal_and_arrival() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let mut given_up = wait(&barrier);
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(given_up));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || {
                let mut other = wait(&barrier);
                let passed = Count::new().poll(other.as_mut());
                (passed.is_ready(), barrier.arrived())
            })
        };
        canceller.join().unwrap();
        let (passed, arrived) = other.join().unwrap();
        assert_eq!(barrier.now().generation, u32::from(passed));
        // It saw itself, and perhaps the one that was still to withdraw.
        assert!(if passed { arrived == 0 } else { arrived == 1 }, "{passed} {arrived}");
        assert_eq!(barrier.arrived(), 0);
        assert!(barrier.queue.lock().is_empty());
    });
}

/// The barrier is broken while the last party comes: all who waited learn the same.
#[test]
fn model_abort_and_arrival() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait_timeout(Duration::MAX))
        };
        let aborter = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.abort())
        };
        let mine = block_on(barrier.wait_unless_broken());
        let theirs = other.join().unwrap();
        aborter.join().unwrap();
        assert_eq!(mine.is_ok(), theirs.is_ok());
        assert_eq!(theirs.err(), mine.err().map(BarrierError::from));
        assert!(barrier.is_broken());
        assert_eq!(barrier.arrived(), 0);
    });
}

/// A party whose time is up while the last one comes has either passed, or the last one has not.
#[test]
fn model_deadline_and_arrival() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let late = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait_timeout(Duration::ZERO))
        };
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.try_wait())
        };
        let (late, other) = (late.join().unwrap(), other.join().unwrap());
        assert_eq!(late.is_ok(), other.is_ok());
        assert_eq!((barrier.arrived(), barrier.now().generation), (0, u32::from(late.is_ok())));
    });
}
