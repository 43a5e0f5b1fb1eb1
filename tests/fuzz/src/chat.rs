//! Lines of the chat, cut anywhere. Its own file, as only the module round them may see them.
#[path = "../../../examples/src/chat/lines.rs"]
mod lines;

use lines::{Line, Lines};

use crate::Bytes;
use crate::process::pool::codec::Pieces;

pub(crate) fn in_pieces(mut bytes: Bytes<'_>) {
    let (longest, cut) = (1 + bytes.below(60), 1 + bytes.below(20));
    let all = |cut: usize| {
        let mut lines = Lines::new(Pieces(bytes.0, cut), longest);
        let mut all = Vec::new();
        while let Some(line) = futures_lite::future::block_on(lines.next()).expect("no errors here") {
            let long = line == Line::TooLong;
            all.push(line);
            if long {
                break;
            }
        }
        all
    };
    let whole = all(usize::MAX);
    for line in &whole {
        if let Line::Text(text) = line {
            assert!(!text.chars().any(|c| c.is_control() && c != '\t'), "{text:?}");
        }
    }
    assert_eq!(all(cut), whole);
}
