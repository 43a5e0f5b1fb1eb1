//! Options in any order and of any size, and addresses as anybody may write them: errors, and no panic.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::OnceLock;

use filch::net::lookup_host;
use filch::time::Duration;
use filch::{Builder, Runtime, WORKERS_MAX};

use crate::Bytes;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    if bytes.below(8) == 0 { options(bytes) } else { address(bytes.0) }
}

fn options(mut bytes: Bytes<'_>) {
    let mut builder = Builder::new();
    let (mut workers, mut paused, mut name) = (None, false, true);
    while let Some(byte) = bytes.next() {
        builder = match byte % 5 {
            0 => {
                // Few that are built, or none.
                let count = [0, 1, 2, WORKERS_MAX + 1, usize::MAX][bytes.below(5)];
                workers = Some(count);
                builder.workers(count)
            }
            1 => {
                let length = bytes.below(20).min(bytes.0.len());
                let (text, rest) = bytes.0.split_at(length);
                bytes.0 = rest;
                name = !text.is_empty() && !text.contains(&0);
                builder.name(String::from_utf8_lossy(text))
            }
            2 => {
                paused = true;
                builder.paused_clock(bytes.number())
            }
            3 => builder.blocking_threads(bytes.number() as usize),
            _ => builder.on_slow_poll(Duration::from_nanos(bytes.number()), |_| ()),
        };
    }
    let workers = workers.unwrap_or_else(|| {
        builder = std::mem::take(&mut builder).workers(1);
        1
    });
    let fine = name && (1..=WORKERS_MAX).contains(&workers) && (!paused || workers == 1);
    match builder.build() {
        Ok(runtime) => {
            assert!(fine);
            assert_eq!(runtime.block_on(async { filch::spawn(async { 7 }).await.unwrap() }), 7);
        }
        Err(error) => {
            assert!(!fine, "{error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}

fn address(data: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new().workers(1).build().expect("a runtime"));
    let text = String::from_utf8_lossy(data);
    let expect = match (text.parse::<SocketAddr>(), text.rsplit_once(':')) {
        (Ok(address), _) => Ok(address),
        (_, None) => Err(()),
        (_, Some((host, port))) => match port.parse::<u16>() {
            Err(_) => Err(()),
            Ok(_) if host.is_empty() || host.contains(':') => Err(()),
            // A name, which would be looked up.
            Ok(_) => return,
        },
    };
    let got = runtime.block_on(async { lookup_host(&*text).await.map(|all| all.collect::<Vec<_>>()) });
    match (expect, got) {
        (Ok(address), Ok(all)) => assert_eq!(all, [address]),
        (Err(()), Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("cannot read"), "{error}");
        }
        other => panic!("{text:?}: {other:?}"),
    }
}
