//! Scenarios of sockets, processes and the clock of the system. Those that count descriptors, or stop the process, run
//! in one of their own.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::net::{TcpListener, TcpSocket, TcpStream};
use filch::process::Command;
use filch::time::{Duration, Instant, MissedTick, interval};
use filch_tests::{Child, child_case, until, watched, workers};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs the test again in a process of its own, in which `body` runs.
#[track_caller]
fn alone(test: &'static str, limits: &'static str, body: impl FnOnce() + Send + 'static) {
    if child_case().is_some() {
        return watched(body);
    }
    Child::new(test, "alone").ulimit(limits).succeeds();
}

/// A number of a variable, for whoever has more time than a test.
fn asked(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

#[test]
fn nt7_a_slow_reader_gets_every_byte_though_writes_are_cancelled() {
    watched(|| {
        let size = asked("FILCH_MEGABYTES", 8) << 20;
        let byte = |position: usize| (position ^ position >> 8 ^ position >> 16) as u8;
        workers(2).block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_send_buffer_size(4 << 10).unwrap();
            let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let writer = filch::spawn(async move {
                let (mut sent, mut cancelled, mut random) = (0, 0, 0x9E37_79B9_u64);
                let data: Vec<u8> = (0..size).map(byte).collect();
                while sent < size {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let piece = (sent + 1 + (random >> 33) as usize % 9_000).min(size);
                    let mut stream = &client;
                    let mut write = pin!(stream.write(&data[sent..piece]));
                    // Dropped after so many polls, if it has not ended by then.
                    let mut polls = random >> 60;
                    let ended = std::future::poll_fn(|cx| match write.as_mut().poll(cx) {
                        Poll::Ready(result) => Poll::Ready(Some(result.unwrap())),
                        Poll::Pending if polls == 0 => Poll::Ready(None),
                        Poll::Pending => {
                            polls -= 1;
                            Poll::Pending
                        }
                    })
                    .await;
                    match ended {
                        Some(count) => sent += count,
                        None => {
                            cancelled += 1;
                            filch::yield_now().await;
                        }
                    }
                }
                client.shutdown().await.unwrap();
                cancelled
            });
            let (mut got, mut buf) = (0, vec![0; 3_001]);
            loop {
                let count = server.read(&mut buf).await.unwrap();
                if count == 0 {
                    break;
                }
                assert!(buf[..count].iter().enumerate().all(|(n, &b)| b == byte(got + n)), "after {got}");
                got += count;
                if got % 5 == 0 {
                    filch::yield_now().await;
                }
            }
            assert_eq!(got, size);
            assert!(writer.await.unwrap() > 0, "no write was cancelled");
        });
    });
}

#[test]
fn nt9_a_connect_that_is_given_up_closes_its_descriptor() {
    alone("system::nt9_a_connect_that_is_given_up_closes_its_descriptor", "-n 256", || {
        workers(1).block_on(async {
            let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
            raw.bind(&any.into()).unwrap();
            raw.listen(0).unwrap();
            let listener = TcpListener::from_std(raw.into()).unwrap();
            let address = listener.local_addr().unwrap();
            // These fill the queue of the listener, which nobody takes from: the next ones wait.
            let mut clients = vec![TcpStream::connect(address).await.unwrap()];
            let before = descriptors();
            for _ in 0..1_000 {
                let mut connect = pin!(TcpStream::connect(address));
                match connect.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => assert_eq!(descriptors(), before + clients.len()),
                    Poll::Ready(client) => clients.push(client.unwrap()),
                }
            }
            assert!(clients.len() < 10, "the queue has no end");
            assert_eq!(descriptors(), before + clients.len() - 1);
            // The listener works on.
            let (mut server, _) = listener.accept().await.unwrap();
            clients[0].write_all(b"x").await.unwrap();
            assert_eq!(server.read(&mut [0]).await.unwrap(), 1);
        });
    });
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buf = [0; 1_024];
    loop {
        let count = stream.read(&mut buf).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..count]).await?;
    }
}

#[test]
fn nt10_idle_connections_and_those_that_come_and_go_leave_nothing() {
    alone("system::nt10_idle_connections_and_those_that_come_and_go_leave_nothing", "-n 8192", || {
        let (idle, churn) = (asked("FILCH_CONNECTIONS", 300), asked("FILCH_CONNECTIONS", 300) * 10);
        let runtime = workers(2);
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let before = descriptors();
            let server = filch::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    filch::spawn(echo(stream));
                }
            });
            let mut held = Vec::new();
            for _ in 0..idle {
                held.push(TcpStream::connect(address).await.unwrap());
            }
            // One peer sends as much as it can, all the while.
            let flood = filch::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (mut read, mut write) = stream.into_split();
                let sink =
                    filch::spawn(async move { while read.read(&mut [0; 4_096]).await.unwrap() > 0 {} });
                loop {
                    write.write_all(&[7; 4_096]).await.unwrap();
                    if sink.is_finished() {
                        return;
                    }
                }
            });
            let come_and_go = |count: usize| async move {
                for number in 0..count {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let sent = [number as u8];
                    stream.write_all(&sent).await.unwrap();
                    let mut got = [0];
                    stream.read_exact(&mut got).await.unwrap();
                    assert_eq!(got, sent);
                }
            };
            let all: Vec<_> = (0..4).map(|_| filch::spawn(come_and_go(churn / 4))).collect();
            for task in all {
                task.await.unwrap();
            }
            // The idle ones are alive.
            for stream in &mut held {
                stream.write_all(b"?").await.unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
            }
            flood.abort();
            assert!(flood.await.unwrap_err().is_cancelled());
            drop(held);
            filch_tests::until_yielding(|| descriptors() == before).await;
            server.abort();
        });
        until(|| runtime.metrics().live_tasks == 0);
    });
}

/// The numbers of the descriptors of this process, but for the one that this itself opens.
fn listed() -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| !to.ends_with("fd")))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

#[test]
fn ps5_a_child_inherits_none_of_our_descriptors() {
    alone("system::ps5_a_child_inherits_none_of_our_descriptors", "", || {
        // Whoever started this process may have left it some.
        let inherited = listed();
        workers(1).block_on(async {
            // Of ours there are more: a listener, a connection, the runtime's own.
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            assert!(listed().len() > inherited.len() + 2);
            let script = "for fd in /proc/self/fd/*; do readlink $fd >/dev/null && echo ${fd##*/}; done";
            let output = Command::new("sh").arg("-c").arg(script).output().await.unwrap();
            let mut seen: Vec<_> =
                String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
            seen.sort();
            // What the shell opened to read the folder is closed by then.
            assert_eq!(seen, inherited);
        });
    });
}

#[test]
fn tm6_after_a_stop_of_the_process_ticks_are_as_in_the_table() {
    const PERIOD: Duration = Duration::from_millis(10);
    alone("system::tm6_after_a_stop_of_the_process_ticks_are_as_in_the_table", "", || {
        let stopped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let due = |missed: MissedTick| {
            let (stopped, mut ticks) = (stopped.clone(), interval(PERIOD));
            ticks.set_missed_tick_behavior(missed);
            async move {
                let (mut due, mut after): (Vec<Instant>, _) = (Vec::new(), 0);
                while after < 50 {
                    due.push(ticks.tick().await);
                    after += usize::from(stopped.load(std::sync::atomic::Ordering::SeqCst));
                }
                due
            }
        };
        let steps = |due: &[Instant]| due.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        workers(2).block_on(async {
            let burst = filch::spawn(due(MissedTick::Burst));
            let delay = filch::spawn(due(MissedTick::Delay));
            let skip = filch::spawn(due(MissedTick::Skip));
            let id = std::process::id();
            let stop = format!("kill -STOP {id}; sleep 0.2; kill -CONT {id}");
            assert!(Command::new("sh").arg("-c").arg(stop).status().await.unwrap().success());
            stopped.store(true, std::sync::atomic::Ordering::SeqCst);
            // Every tick there is, one after another.
            assert!(steps(&burst.await.unwrap()).iter().all(|&step| step == PERIOD));
            // Never two within a period.
            assert!(steps(&delay.await.unwrap()).iter().all(|&step| step >= PERIOD));
            // On the beat, with those left out that were missed.
            let steps = steps(&skip.await.unwrap());
            assert!(steps.iter().all(|step| step.as_nanos() % PERIOD.as_nanos() == 0), "{steps:?}");
            assert!(steps.iter().any(|&step| step >= 10 * PERIOD), "nothing was missed: {steps:?}");
        });
    });
}
