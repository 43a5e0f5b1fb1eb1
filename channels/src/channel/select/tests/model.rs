//! Models of the select.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn of_two_sends_one_is_received_and_the_other_stays() {
    shim::model(|| {
        let (one, from_one) = bounded(1);
        let (two, from_two) = bounded(1);
        let first = thread::spawn(move || one.try_send(1).unwrap());
        let second = thread::spawn(move || two.try_send(2).unwrap());
        let select = Select::new().recv(&from_one, Result::unwrap).recv(&from_two, Result::unwrap);
        let got = block_on(select);
        first.join().unwrap();
        second.join().unwrap();
        let rest = if got == 1 { from_two.try_recv() } else { from_one.try_recv() };
        assert_eq!((got + rest.unwrap(), from_one.len() + from_two.len()), (3, 0));
    });
}

#[test]
fn of_two_senders_who_meet_it_one_is_met() {
    shim::model(|| {
        let (one, from_one) = rendezvous();
        let (two, from_two) = rendezvous();
        let first = thread::spawn(move || one.try_send(1).is_ok());
        let second = thread::spawn(move || two.try_send(2).is_ok());
        let mut select =
            Box::pin(Select::new().recv(&from_one, |got| got.ok()).recv(&from_two, |got| got.ok()));
        let early = poll_once(select.as_mut());
        let met = [first.join().unwrap(), second.join().unwrap()];
        let got = match early {
            Poll::Ready(got) => got,
            // Both senders are gone by now, so it is ready.
            Poll::Pending => block_on(select),
        };
        let expected = match met {
            [true, false] => Some(1),
            [false, true] => Some(2),
            [false, false] => None,
            [true, true] => panic!("it met both"),
        };
        // It may have heard of the end of one channel before a sender came to the other.
        assert!(got == expected, "{got:?} {met:?}");
        assert_eq!(from_one.len() + from_two.len(), 0);
    });
}

#[test]
fn two_selects_face_each_other() {
    shim::model(|| {
        let (ping, from_ping) = rendezvous();
        let (pong, from_pong) = rendezvous();
        let other = thread::spawn(move || {
            let mut mine = Some(2);
            let got =
                block_on(Select::new().recv(&from_ping, |got| got.ok()).send(&pong, &mut mine, |_| None));
            (got, mine)
        });
        let mut mine = Some(1);
        let got = block_on(Select::new().recv(&from_pong, |got| got.ok()).send(&ping, &mut mine, |_| None));
        // One has sent what the other has received, and the other has its message still.
        let theirs = other.join().unwrap();
        assert!(matches!(
            ((got, mine), theirs),
            ((None, None), (Some(1), Some(2))) | ((Some(2), Some(1)), (None, None))
        ));
    });
}

#[test]
fn a_select_that_is_cancelled_loses_no_message() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let (_quiet, never) = bounded::<u8>(1);
        let other = rx.clone();
        let selecting = thread::spawn(move || {
            let mut select =
                Box::pin(Select::new().recv(&other, |got| got.ok()).recv(&never, |got| got.ok()));
            poll_once(select.as_mut()) == Poll::Ready(Some(1))
        });
        let sent = tx.try_send(1).is_ok();
        let received = selecting.join().unwrap();
        assert_eq!(rx.try_recv().is_ok(), sent && !received);
    });
}

#[test]
fn a_send_of_a_select_that_is_cancelled_comes_back_or_was_received() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let (_quiet, never) = bounded::<u8>(1);
        let selecting = thread::spawn(move || {
            let mut message = Some(1);
            {
                let select = Select::new().send(&tx, &mut message, |_| ()).recv(&never, |_| ());
                let _ = poll_once(pin!(select));
            }
            message.is_none()
        });
        let received = rx.try_recv().is_ok();
        assert_eq!(selecting.join().unwrap(), received);
    });
}

#[test]
fn a_select_that_goes_elsewhere_passes_its_invitation_on() {
    shim::model(|| {
        let (one, from_one) = bounded(1);
        let (two, from_two) = bounded(1);
        let other = from_one.clone();
        let second = thread::spawn(move || block_on(other.recv()));
        let mut select = Box::pin(Select::new().recv(&from_one, |_| 1).recv(&from_two, |_| 2).biased());
        let early = poll_once(select.as_mut());
        two.try_send(2).unwrap();
        one.try_send(1).unwrap();
        if early.is_pending() {
            // Dropped with both lines telling it to come.
            drop(select);
        }
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_buffered_case_and_one_that_is_met_are_not_both_done() {
    shim::model(|| {
        let (one, from_one) = bounded(1);
        let (two, from_two) = rendezvous();
        let first = thread::spawn(move || one.try_send(1).unwrap());
        let second = thread::spawn(move || two.try_send(2).is_ok());
        let got = block_on(Select::new().recv(&from_one, |got| got.ok()).recv(&from_two, |got| got.ok()));
        first.join().unwrap();
        let met = second.join().unwrap();
        match got {
            Some(1) => assert!(!met && from_one.is_empty()),
            Some(2) => assert!(met && from_one.len() == 1),
            // The second channel was at its end before.
            _ => assert!(!met && from_one.len() == 1),
        }
        assert!(from_two.is_empty());
    });
}
