//! Accepting when the process has no descriptors left. Alone in its file, so alone in its process: it uses them up.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::TcpStream as StdStream;
use std::task::Poll;

use filch::net::TcpListener;

/// Takes every descriptor but `spare`, under a limit that is quickly reached.
fn use_up(spare: usize) -> Vec<File> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = 128;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.truncate(files.len() - spare);
    files
}

#[test]
fn nt1_accept_waits_for_a_descriptor_and_does_not_spin() -> io::Result<()> {
    filch::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut files = use_up(1);
        // Takes the last descriptor; the connection waits in the queue of the listener.
        let client = StdStream::connect(listener.local_addr()?)?;
        let mut accept = Box::pin(listener.accept());
        let mut polls = 0;
        let (_server, peer) = poll_fn(|cx| {
            polls += 1;
            if polls == 4 {
                // It has slept three times: 5, 10 and 20 ms.
                files.pop();
            }
            match accept.as_mut().poll(cx) {
                Poll::Ready(Err(error)) => panic!("accept gave up: {error}"),
                other => other,
            }
        })
        .await?;
        assert_eq!(peer, client.local_addr()?);
        assert!((4..20).contains(&polls), "{polls} polls");
        Ok(())
    })
}
