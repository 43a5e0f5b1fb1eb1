//! `Notify`: one notification is seen by one waiter, or stored; one for all is seen by all.

use std::pin::pin;

use filch::sync::Notify;
use filch::testing::{Trial, poll_once};

use crate::turn;

operations! {
    notified_in_order: "Notify::notified" => async |trial| one_each(trial, Notify::notify_one).await;
    notified_in_reverse: "Notify::notified" => async |trial| one_each(trial, Notify::notify_last).await;
    notified_with_all: "Notify::notified" => async |trial| {
        let notify = Notify::new();
        let notifies = async {
            turn().await;
            notify.notify_waiters();
        };
        trial.ahead(notify.notified()).beside(notify.notified()).beside(notifies).run(notify.notified()).await;
        assert!(poll_once(pin!(notify.notified())).is_pending(), "nothing is stored");
    };
    notified_by_one_and_by_all: "Notify::notified" => async |trial| {
        let notify = Notify::new();
        let notifies = async {
            turn().await;
            notify.notify_one();
            notify.notify_waiters();
        };
        let subject = notify.notified();
        trial.beside(notifies).run(subject).await;
        // Whoever was told in person and left: it is for somebody else, who was told by the call to all already.
        let _ = poll_once(pin!(notify.notified()));
        assert!(poll_once(pin!(notify.notified())).is_pending(), "at most one is stored");
    };
    enabled_before_it_is_awaited: "Notify::notified" => async |trial| {
        let notify = Notify::new();
        let subject = async {
            let mut waits = pin!(notify.notified());
            assert!(!waits.as_mut().enable());
            turn().await;
            waits.await;
        };
        let seen = trial.beside(async { notify.notify_one() }).run(subject).await;
        assert_eq!(seen.is_none(), poll_once(pin!(notify.notified())).is_ready());
    };
}

/// Three waiters and as many notifications.
async fn one_each(trial: Trial, notify_one: fn(&Notify)) {
    let notify = Notify::new();
    let notifies = async {
        for _ in 0..3 {
            turn().await;
            notify_one(&notify);
        }
    };
    let world = trial.ahead(notify.notified()).beside(notify.notified());
    let seen = world.beside(notifies).run(notify.notified()).await;
    assert_eq!(seen.is_none(), poll_once(pin!(notify.notified())).is_ready(), "what was not seen is stored");
    assert!(format!("{notify:?}").contains("waiting: 0"), "{notify:?}");
}
