//! The part about tasks: spawn and join, timeout, cancellation, select, and a stuck worker.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use filch::channel::{bounded, oneshot};
use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::net::{TcpListener, TcpStream};

use super::{Error, Part};

/// How long a thread may be stuck here before the tour gives up on it. Nothing that holds comes near this.
const WATCHDOG: Duration = Duration::from_secs(10);

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    many(part).await?;
    panics_and_aborts(part).await?;
    timeouts(part).await?;
    select(part).await?;
    stuck(part).await
}

async fn many(part: &mut Part) -> Result<(), Error> {
    let handles: Vec<_> = (0..10_000_u64).map(|n| filch::spawn(async move { n * n })).collect();
    let mut sum = 0;
    for handle in handles {
        sum += handle.await?;
    }
    part.show(sum == 333_283_335_000, "10,000 tasks are spawned, and joined in order");
    Ok(())
}

async fn panics_and_aborts(part: &mut Part) -> Result<(), Error> {
    /// Counts how often it is dropped.
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(drops.clone());
    let (started, has_started) = oneshot::channel();
    let task = filch::spawn(async move {
        let _counted = counted;
        let _ = started.send(());
        pending::<()>().await;
    });
    has_started.await?;
    task.abort();
    let cancelled = task.await.is_err_and(|error| error.is_cancelled());
    part.show(
        cancelled && drops.load(Ordering::Relaxed) == 1,
        "a task that is aborted drops what it holds, once",
    );
    Ok(())
}

async fn timeouts(part: &mut Part) -> Result<(), Error> {
    let began = Instant::now();
    let late = filch::time::timeout(Duration::from_millis(20), pending::<()>()).await.is_err();
    let early = began.elapsed() < Duration::from_millis(20);
    let ready = filch::wait_for(async { 1 }, Duration::ZERO).await.is_ok();
    part.show(late && !early && ready, "a timeout ends what takes too long, never early; what is ready wins");
    Ok(())
}

async fn select(part: &mut Part) -> Result<(), Error> {
    let (words, heard) = bounded(4);
    filch::spawn(async move {
        for word in ["one", "two", "three"] {
            if words.send(word).await.is_err() {
                return;
            }
        }
    });
    let mut deadline = Box::pin(filch::time::sleep(WATCHDOG));
    let mut all = Vec::new();
    let in_time = loop {
        filch::select! {
            Ok(word) = heard.recv() => all.push(word),
            () = keep deadline => break false,
            else => break true,
        }
        if all.len() == 3 {
            break true;
        }
    };
    part.show(
        in_time && all == ["one", "two", "three"],
        "select! takes messages until they end, and keeps its deadline",
    );
    Ok(())
}

/// As many tasks as there are workers, and one more, block their threads on std channels. A timer, a socket and a
/// queued task must still be served, for only they can feed those channels.
async fn stuck(part: &mut Part) -> Result<(), Error> {
    let began = Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let (feeds, blocked): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel::<&str>()).unzip();
    let stuck: Vec<_> = blocked
        .into_iter()
        .map(|channel| filch::spawn(async move { channel.recv_timeout(WATCHDOG) }))
        .collect();
    let [by_timer, by_socket, by_task] = <[_; 3]>::try_from(feeds).map_err(|_| "three channels")?;
    filch::spawn(async move {
        filch::time::sleep(Duration::from_millis(5)).await;
        let _ = by_timer.send("timer");
    });
    filch::spawn(async move {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut word = [0; 6];
        if stream.read_exact(&mut word).await.is_ok() && &word == b"socket" {
            let _ = by_socket.send("socket");
        }
    });
    filch::spawn(async move {
        filch::yield_now().await;
        let _ = by_task.send("task");
    });
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"socket").await?;
    let mut fed = Vec::new();
    for task in stuck {
        fed.push(task.await?.unwrap_or("nobody"));
    }
    let took = began.elapsed();
    let claim =
        format!("three threads stuck at once are freed by a timer, a socket and a task, in {took:.1?}");
    part.show(fed == ["timer", "socket", "task"], claim);
    Ok(())
}
