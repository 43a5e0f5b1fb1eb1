//! Frames as they are written, cut in pieces, and as nobody should write them.

use super::*;

fn feed(reader: &mut Reader, mut bytes: &[u8], piece: usize) -> Vec<Result<Message, Malformed>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let room = reader.room();
        let count = piece.min(bytes.len()).min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        reader.filled(count);
        bytes = &bytes[count..];
        loop {
            match reader.take() {
                Ok(Some(message)) => messages.push(Ok(message)),
                Ok(None) => break,
                Err(error) => {
                    messages.push(Err(error));
                    return messages;
                }
            }
        }
    }
    messages
}

#[test]
fn what_is_written_is_read_in_pieces_of_any_size() {
    let values = [String::new(), "short".to_owned(), "long".repeat(20_000)];
    let mut bytes = Vec::new();
    for (id, value) in values.iter().enumerate() {
        bytes.extend(frame(tag::CALL, id as u64 + (1 << 40), 7, LIMIT, value).unwrap());
    }
    for piece in [1, 3, 16, 17, 4_096, bytes.len()] {
        let mut reader = Reader::new(LIMIT);
        let messages = feed(&mut reader, &bytes, piece);
        assert_eq!(messages.len(), values.len());
        for (id, (message, sent)) in messages.into_iter().zip(&values).enumerate() {
            let message = message.unwrap();
            assert_eq!((message.tag, message.id, message.job), (tag::CALL, id as u64 + (1 << 40), 7));
            assert_eq!(value::<String>(&message.body).unwrap(), *sent);
        }
        assert!(!reader.has_more());
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_anything_is_kept_for_it() {
    let mut reader = Reader::new(100);
    let messages = feed(&mut reader, &u32::MAX.to_le_bytes(), 4);
    assert!(
        matches!(&messages[..], [Err(Malformed(text))] if text.contains("100 are allowed")),
        "{messages:?}"
    );
    let mut reader = Reader::new(LIMIT);
    assert!(feed(&mut reader, &(LIMIT as u32).to_le_bytes(), 4).is_empty());
    assert!(reader.room().len() <= PIECE);
    let mut reader = Reader::new(LIMIT);
    let messages = feed(&mut reader, &3_u32.to_le_bytes(), 4);
    assert!(matches!(&messages[..], [Err(Malformed(text))] if text.contains("fewer")), "{messages:?}");
}

#[test]
fn the_limit_is_that_of_the_value() {
    let just = frame(tag::CALL, 1, 0, 101, &[7_u8; 100][..]).unwrap();
    assert_eq!(feed(&mut Reader::new(101), &just, 7).len(), 1);
    assert_eq!(frame(tag::CALL, 1, 0, 100, &[7_u8; 100][..]), Err(Unwritable::TooLarge(100)));
    assert!(feed(&mut Reader::new(100), &just, just.len())[0].is_err());
}

#[test]
fn what_is_no_value_says_why() {
    assert!(value::<u64>(&[1, 2]).unwrap_err().contains("1 bytes are left over"));
    assert!(value::<String>(&[5, b'a']).is_err());
    assert!(value::<bool>(&[9]).is_err());
    let endless = serde_iterator();
    assert!(matches!(frame(tag::CALL, 0, 0, LIMIT, &endless), Err(Unwritable::Format(_))));
}

/// A sequence that does not know its length.
fn serde_iterator() -> impl Serialize {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            serializer.serialize_seq(None)?.end()
        }
    }
    Endless
}

#[test]
fn texts_are_cut_at_a_character() {
    let frame = text(tag::PANICKED, 1, &"ä".repeat(TEXT_MOST));
    let message = feed(&mut Reader::new(LIMIT_LEAST), &frame, 100).remove(0).unwrap();
    let cut: String = value(&message.body).unwrap();
    assert!(cut.len() <= TEXT_MOST + 3 && cut.ends_with("ä..."), "{}", cut.len());
}
